package testkit

import (
	"context"
	"io/fs"

	"github.com/bivouac-run/bivouac/sandbox"
)

// checkpointing is what options say of checkpoints.
type checkpointing struct {
	steps        []step
	content      []content
	processes    sandbox.ProcessPolicy
	excluded     string // why processes are not tried, where nobody has said so
	quality      sandbox.Quality
	quiesce      []quiesce
	omitMounts   bool
	machineClock bool
	pool         int
}

// step prepares a container before its checkpoint.
type step struct {
	key string
	do  Hook
}

// content is something that a checkpoint depends on besides the container's own options.
type content struct {
	name   string // as it was written, for messages
	digest func() (string, error)
}

// quiesce is what is done around a checkpoint.
type quiesce struct{ before, after Hook }

// Prepare adds a step that makes of a container that is ready what tests want to begin with, such as one with all migrations
// and some rows. Steps are run in their order, once, on the container of which [Checkpoint] then makes the clones.
//
// A function cannot be compared with that of an earlier run: the key stands for what it does, and has to change with it.
// Where that is in files, name them, and their content is a part of the key: each is a path or a pattern of
// [path/filepath.Glob], relative to the directory of the test, and of a directory all that is in it counts.
//
// The function must return an error where it fails, and cannot use a test's FailNow: it serves many tests.
func Prepare(key string, do func(ctx context.Context, c *Container) error, files ...string) Option {
	return func(s *settings) {
		if key == "" || do == nil {
			s.refuse("Prepare(%q): needs a key and a function", key)
			return
		}
		s.checkpoint.steps = append(s.checkpoint.steps, step{key, do})
		DependsOn(files...)(s)
	}
}

// DependsOn has [Checkpoint] make another one when the content of files has changed: each is a path or a pattern, as for
// [Prepare]. What [File], [FileFrom], [Files] and [HostFile] put into the container counts without it.
func DependsOn(files ...string) Option {
	return func(s *settings) {
		for _, pattern := range files {
			s.depends("DependsOn("+pattern+")", func() (string, error) { return digestPattern(pattern) })
		}
	}
}

// DependsOnFS is [DependsOn] for all files of a file system, such as an embed.FS.
func DependsOnFS(tree fs.FS) Option {
	return func(s *settings) { s.depends("DependsOnFS", func() (string, error) { return digestTree(tree) }) }
}

func (s *settings) depends(name string, digest func() (string, error)) {
	s.checkpoint.content = append(s.checkpoint.content, content{name, digest})
}

// ProcessesRequired has a checkpoint fail that cannot hold the container's processes. Without it, and without [FilesOnly],
// it then holds files alone, of which a clone starts its program anew.
func ProcessesRequired() Option {
	return func(s *settings) { s.checkpoint.processes = sandbox.ProcessesRequired }
}

// FilesOnly has a checkpoint hold the container's files alone. A clone starts its program anew on them.
func FilesOnly() Option {
	return func(s *settings) { s.checkpoint.processes = sandbox.ProcessesNever }
}

// Live takes the files of a checkpoint without processes while the program stands still for a moment, so that clones find
// them as after a crash of it. The default is clean: the program is asked to end, and its files are taken when it has.
func Live() Option { return func(s *settings) { s.checkpoint.quality = sandbox.QualityLive } }

// Quiesce adds functions around the moment of a checkpoint, such as one that flushes and locks tables, and one that unlocks
// them. Each may be nil. before is called on the container that is about to be checkpointed. after is called wherever its
// processes go on as before has left them: on the same container when the checkpoint is done or has failed, unless its
// program had to end for clean files, and on every clone that has its processes. More than one Quiesce nest.
func Quiesce(before, after Hook) Option {
	return func(s *settings) { s.checkpoint.quiesce = append(s.checkpoint.quiesce, quiesce{before, after}) }
}

// OmitMounts leaves what is in memory file systems ([Tmpfs], /dev/shm) out of a checkpoint without processes: those of
// clones are empty. With processes it is always there.
func OmitMounts() Option { return func(s *settings) { s.checkpoint.omitMounts = true } }

// MachineClock shows the processes of a clone that time has passed since the checkpoint: their monotonic clock goes on with
// the machine's, and all their timers of that time are due at once. Otherwise it goes on where the checkpoint has stopped
// it. The time of day is always the machine's.
func MachineClock() Option { return func(s *settings) { s.checkpoint.machineClock = true } }

// Pool has [Checkpoint] keep n clones ready ahead of the tests that ask for them. They are made one after the other, after
// the first clone was asked for, while no test is waiting for another, and each costs the memory of a running clone: see
// [Prepared.PoolStats].
func Pool(n int) Option {
	return func(s *settings) {
		if s.checkpoint.pool = n; n < 1 {
			s.refuse("Pool(%d): needs a number above 0", n)
		}
	}
}

// Checkpointable prepares a container of [Start] for [Container.Checkpoint] and [Container.Fork] with its processes. Its
// program is then not the first process, but the child of a small init, as it is in all containers of [Checkpoint].
func Checkpointable() Option { return func(s *settings) { s.spec.Checkpointable = true } }
