package criu

import (
	"regexp"
	"sync"
)

// symptom is what a message of CRIU's log means. What the groups with a name
// match is added to the message, but for "pid", the process.
type symptom struct {
	pattern         *regexp.Regexp
	resource        Resource
	message, remedy string
}

func sign(pattern string, resource Resource, message, remedy string) symptom {
	return symptom{regexp.MustCompile(pattern), resource, message, remedy}
}

const (
	remedyNewer    = "install a CRIU that is as new as the kernel"
	remedyClose    = "close it before the checkpoint"
	remedyBridge   = "" // the caller's own doing: nothing that the user can mend
	remedyReplaced = "start the program again after its files were replaced, or have it keep open what it maps"
	remedyImages   = "remove the snapshot and make it again"
)

// symptoms are looked at in their order. Those that are about the same lines have the more exact one first. They are made
// when they are needed, for few runs of a program need them.
var symptoms = sync.OnceValue(func() []symptom {
	return append(dumpSymptoms(), restoreSymptoms()...)
})

// dumpSymptoms are about what processes have that cannot be dumped.
func dumpSymptoms() []symptom {
	return []symptom{
		sign(`\[io_uring\]|send_fds failed \(-22\)`, ResourceIOURing, "it uses io_uring", ioURingRemedy),
		sign(`\[userfaultfd\]`, ResourceUserfaultfd, "it uses userfaultfd", ""),
		sign(`Unsupported proto 262`, ResourceMPTCP, "it has a multipath TCP socket, as Go's listeners are",
			"GODEBUG=multipathtcp=0"),
		sign(`(?P<what>Unsupported proto \d+)|(?P<what2>Unsupported socket family: \d+)`, ResourceSocket,
			"it has a socket of a kind that cannot be dumped", remedyClose),
		sign(`Sockets \((?P<what>family \d+ proto \d+)\) are not collected`, ResourceSocket,
			"the kernel does not tell about its sockets", remedyNewer),
		sign(`Can't get 1:16 opt`, ResourceCRIU, "this CRIU does not know the sockets of this kernel", remedyNewer),
		sign(`Connected TCP socket|In-flight connection|Can't dump (?P<what>half of stream unix connection|name-less external socket)|`+
			`External socket is used|Dangling connection|Unix socket \d+ not found`, ResourceConnection,
			"it has a connection whose other end is outside of the container's program", remedyClose),
		sign(`(?P<what>corked dgram socket|packetized mode for pipes|More than 1 SCM|Control messages in queue)`, ResourceSocket,
			"it has a socket or pipe in a state that cannot be dumped", "let it finish what it is sending"),
		sign(`file locks are hold|Unresolved lock found pid (?P<pid>\d+)`, ResourceFileLock, "it holds a file lock", remedyClose),
		sign(`Can't dump ghost file (?P<what>.*) of \d+ size, increase limit`, ResourceGhostFile,
			"it has a large file open that was removed", remedyClose),
		sign(`Can't create link remap for (?P<what>\S+)`, ResourceGhostFile,
			"it has a file open whose name was removed, but not its other names", remedyClose),
		sign(`Unaccessible path opened|(?P<what>The path \[.*\]) is not supported|overmounted mounts are not supported.*path=(?P<what2>\S+)`,
			ResourceFile, "it has a file open in whose place there is another one", remedyClose),
		sign(`Can't dump that handle|Can't find suitable path for handle`, ResourceWatch,
			"it watches a file (inotify, fanotify) that is not found again", "watch directories below /tmp, /run or the working directory, or poll"),
		sign(`Can't lookup mount=\d+ for fd=-\d+ path=(?P<what>.*)`, ResourceOutsideFile,
			"its program is a file outside of the container", ""),
		sign(`Can't lookup mount=\d+ for (?P<what>fd=\d+ path=.*)`, ResourceOutsideFile,
			"it has a file open from outside of the container", remedyClose),
		sign(`Can't dump file (?P<what>\d+ of that type .*)`, ResourceFile, "it has a file open that cannot be dumped", remedyClose),
		sign(`Can't open mapped \[(?P<what>.*\(deleted\))\]`, ResourceDeletedMapping, "it maps a file that was removed", remedyReplaced),
		sign(`Can't open mapped \[(?P<what>.*)\]|Failed to resolve mapping (?P<what2>\w+) filename|Can't handle non-regular mapping`,
			ResourceFile, "it maps a file that is not found at its place", ""),
		sign(`No entry for reg-file-ID|No entry for memfd`, ResourceMemfdProgram, "it was executed from memory", "execute it from a file"),
		sign(`Task (?P<pid>\d+) with SysVIPC shmem map|Can't stat (?:self )?map_files|[Ss]ys[Vv] shmem`, ResourceShared,
			"it maps System V shared memory that cannot be dumped", remedyBridge),
		sign(`Found slave peer index|dangling tty|external terminals|not a session leader|self_stdin`, ResourceOutsideTerminal,
			"it uses a terminal of the world outside", "start the container without a terminal"),
		sign(`Can't dump nested pid(?:_for_children)? namespace for (?P<pid>\d+)`, ResourcePIDNamespace,
			"it is in a pid namespace of its own", "run the program without a sandbox of its own"),
		sign(`Can't dump nested user namespace for (?P<pid>\d+)|doesn't belong to the target user namespace`, ResourceUserNamespace,
			"it is in a user namespace of its own", "run the program without a sandbox of its own"),
		sign(`Can't dump nested (?P<what>\w+) namespace for (?P<pid>\d+)`, ResourceOtherNamespace,
			"it is in a namespace of its own", "run the program without a sandbox of its own"),
		sign(`Unseizable non-zombie (?P<pid>\d+) found`, ResourceTraced, "it is being traced, or is not to be traced",
			"end the debugger or tracer first"),
		sign(unsuspended+`|Can't fetch seccomp|Dumping seccomp filters not supported|Unable to get seccomp`, ResourceSeccomp,
			"it has a seccomp filter of its own", "run the program without its own sandbox, such as Chromium with --no-sandbox"),
		sign(`uprobes vma`, ResourceTraced, "the kernel's uprobes are in it", "end the tracing of the program first"),
		sign(`Zombies? (?:thread|threads|with threads|with children)|Individually stopped threads|unsupported stop signal|pending SIGTRAP`,
			ResourceTraced, "it is in a state in which it cannot be dumped", "try again"),
		sign(`PID (?P<pid>\d+) has MADV_GUARD|MADV_GUARD_INSTALL`, ResourceMemory, "its guard pages cannot be dumped", remedyNewer),
	}
}

// restoreSymptoms are about what restores fail on, and about the world around.
func restoreSymptoms() []symptom {
	return []symptom{
		sign(`Can't fork for (?P<pid>\d+): File exists|Unable to create a thread.*File exists`, ResourcePID,
			"its number is taken by another process", ""),
		sign(`Can't fork for (?P<pid>\d+): (?P<what>Resource temporarily unavailable|No space left on device)`, ResourcePID,
			"there are too many processes", "raise the limit of processes (ulimit -u)"),
		sign(`File (?P<what>.*) has bad (?:size|mode|build-ID)`, ResourceFile,
			"a file that it has open is not the one that it was", remedyImages),
		sign(`Can't open file (?P<what>.*) on restore|Can't open file by path`, ResourceFile, "a file that it has open is missing", remedyImages),
		sign(`CPU .*(?:match|mismatch|unsupported bits)|missing support fxsave|FPU xsave area present`, ResourceKernel,
			"this processor lacks features of the one where it was checkpointed", remedyImages),
		sign(`magic doesn't match|[Mm]agic|[Cc]orrupt|Unexpected EOF|too old criu was used|Can't open file .*\.img`, ResourceImages,
			"the images of its processes are damaged", remedyImages),
		sign(`Unable to initialize id-s|Can't open sysctl|Can't set (?:uid|gid)|setgroups|setresuid`, ResourceIDs,
			"it has a user that this user namespace lacks", "have subordinate ids (/etc/subuid, /etc/subgid)"),
		sign(`seccomp: .* returned`, ResourceSeccomp, "its seccomp filter cannot be installed", remedyImages),
		sign(`(?P<pid>\d+) (?:was )?killed by (?:signal )?(?P<what>\d+)|Task signaled with (?P<what2>\d+)`, ResourceKernel,
			"it was killed in the middle of it, by signal", remedyNewer),
		sign(`rt vDSO area bounds|[Vv]DSO|vdso`, ResourceCRIU, "this CRIU does not know this kernel", remedyNewer),
		sign(`No space left on device|Disk quota exceeded`, ResourceDisk, "the disk is full", "make room"),
		sign(`Cannot allocate memory|Out of memory`, ResourceMemory, "there is not enough memory", "raise the container's limit of memory"),
		sign(`Too many open files`, ResourceFile, "there are too many open files", "raise the limit of open files (ulimit -n)"),
		sign(`Unable to connect a socket: Network is unreachable`, ResourceKernel, "the container's loopback device is down", ""),
		sign(`RPC client reported script error|action scripts failed`, ResourceCRIU, "a step between was refused", ""),
	}
}
