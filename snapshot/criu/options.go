package criu

import (
	"fmt"

	"github.com/checkpoint-restore/go-criu/v8/rpc"
)

// GhostLimit is the size in bytes up to which the content of a file that is open, but removed, goes into the images.
const GhostLimit = 64 << 20

// DumpOptions say what to dump and where to.
type DumpOptions struct {
	// Images is the path of a directory as CRIU sees it, such as /proc/self/fd/20.
	Images string
	// LogFile is a name in CRIU's working directory, which is Images unless [Command.Args] got --work-dir. LogLevel is 0 to 4;
	// 2 has errors and warnings, 1 and 0 have CRIU run faster.
	LogFile  string
	LogLevel int
	// PID is the root process's, in CRIU's pid namespace.
	PID int
	// LeaveRunning has the processes go on afterwards.
	LeaveRunning bool
	// ScanPaths are directories in the container in which inodes are looked for that inotify watches.
	ScanPaths []string
}

// RestoreOptions say what to restore.
type RestoreOptions struct {
	// Images, LogFile and LogLevel are those of DumpOptions.
	Images   string
	LogFile  string
	LogLevel int
	// Inherit gives the restored processes descriptors of CRIU's instead of what they had.
	Inherit []Inherited
}

// Inherited replaces an open file in all restored processes that had it open.
type Inherited struct {
	Key string // of the file at the dump, such as "pipe:[4711]": see Report.Streams
	FD  int    // CRIU's
}

// common are the options of both directions.
//
// The processes' namespaces are CRIU's own and thus not dumped; neither are their cgroups, which an ordinary user cannot
// make. Nothing from outside reaches the container's connections while it is frozen, so that the network need not be
// locked, for which there may be no tools.
func common(images, logFile string, logLevel int) *rpc.CriuOpts {
	return &rpc.CriuOpts{
		ImagesDirFd:       new(int32(-1)), // required; only then is images_dir used
		ImagesDir:         &images,
		LogFile:           &logFile,
		LogLevel:          new(int32(logLevel)),
		Unprivileged:      new(true),
		NotifyScripts:     new(true),
		TcpEstablished:    new(true),
		NetworkLock:       new(rpc.CriuNetworkLockMethod_SKIP),
		FileLocks:         new(true),
		GhostLimit:        new(uint32(GhostLimit)),
		ManageCgroupsMode: new(rpc.CriuCgMode_IGNORE),
	}
}

func (o DumpOptions) options() *rpc.CriuOpts {
	opts := common(o.Images, o.LogFile, o.LogLevel)
	opts.Pid = new(int32(o.PID))
	opts.LeaveRunning = &o.LeaveRunning
	opts.TcpSkipInFlight = new(true) // connections that nobody has accepted yet: their clients are mostly outside
	opts.ForceIrmap = new(true)
	opts.IrmapScanPaths = o.ScanPaths
	return opts
}

func (o RestoreOptions) options() *rpc.CriuOpts {
	opts := common(o.Images, o.LogFile, o.LogLevel)
	for _, i := range o.Inherit {
		opts.InheritFd = append(opts.InheritFd, &rpc.InheritFd{Key: &i.Key, Fd: new(int32(i.FD))})
	}
	return opts
}

// InheritPipe is the key of a pipe by its inode.
func InheritPipe(inode uint64) string { return fmt.Sprintf("pipe:[%d]", inode) }
