package bridge

import "golang.org/x/sys/unix"

const sysFstatat = unix.SYS_FSTATAT

// archRules are none: arm64 has only the calls that take a directory.
var archRules []rule
