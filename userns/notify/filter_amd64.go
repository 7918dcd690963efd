package notify

import "golang.org/x/sys/unix"

// AuditArch is the architecture whose calls are asked about: this program's.
const AuditArch = unix.AUDIT_ARCH_X86_64
