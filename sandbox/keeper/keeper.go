package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"

	"github.com/opencontainers/runc/libcontainer/exeseal"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/volume"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
	"github.com/bivouac-run/bivouac/snapshot"
	"github.com/bivouac-run/bivouac/userns"
)

// socketFD is where a caller passes its socket.
const socketFD = 3

// spareProcessors is how many processors Go's scheduler gets at the least. Libcontainer, waiting for children and answering
// for emulated ids block in system calls, and each keeps its processor until the runtime takes it away, after up to 10 ms.
const spareProcessors = 4

// Main is `bivouac keeper`: it serves the socket on descriptor 3 until that ends. It returns the exit code.
func Main() int {
	if os.Getpid() != 1 {
		return complain(enter())
	}
	if err := openToAll(); err != nil {
		return complain(err)
	}
	unix.Umask(0o022) // what is made for a container is for all of its users
	runtime.GOMAXPROCS(max(spareProcessors, runtime.NumCPU()))
	conn, err := wire.FromFile(os.NewFile(socketFD, "caller"))
	if err != nil {
		return complain(errors.New("keeper: there is no socket on descriptor 3; it is started by bivouac run or by the Go packages, not by hand"))
	}
	offMainThread(func() { serve(conn) })
	return 0
}

func complain(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 125
}

// enter executes this program again with the namespaces that become it; it returns only on failure. A caller that knows
// package userns saves this step by setting [userns.EnterEnv] itself.
func enter() error {
	m, err := userns.Detect()
	if err != nil {
		return err
	}
	env := append(os.Environ(), userns.EnterEnv(m))
	return fmt.Errorf("start the keeper again: %w", syscall.Exec("/proc/self/exe", os.Args, env))
}

// openToAll starts this program again from memory if its file is not for every user: containers execute it as their own
// user, from the sealed copy that libcontainer makes of the file.
func openToAll() error {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("open own executable: %w", err)
	}
	defer func() { _ = self.Close() }()
	st, err := self.Stat()
	if err != nil {
		return fmt.Errorf("stat own executable: %w", err)
	}
	if st.Mode().Perm()&0o005 == 0o005 || exeseal.IsCloned(self) {
		return nil
	}
	sealed, err := exeseal.CloneBinary(self, st.Size(), "bivouac", os.TempDir())
	if err != nil {
		return fmt.Errorf("copy own executable: %w", err)
	}
	return fmt.Errorf("start the keeper from memory: %w", syscall.Exec(fmt.Sprintf("/proc/self/fd/%d", sealed.Fd()), os.Args, os.Environ()))
}

// keeper is the state behind one socket.
type keeper struct {
	store *rootfs.Store
	// home is the store's directory; run, below it, is covered by a memory file system of this keeper's own.
	home, run  string
	idMap      string // the key of the id mapping
	uids, gids []extent
	unified    bool
	children   children
	slots      slots
	// scratch is where changed files go until they are discarded.
	scratch *scratch
	doors   doors
	// snapshots are the user's, ephemeral those of this keeper alone.
	snapshots, ephemeral *snapshot.Store
	sources              sources
	claims               claims
	criu                 criuFinder
	bulletin             bulletin
	volumes              *volume.Store
	ownVolumes           ownVolumes
	// volumesUsed tells that there are volumes to let go of at the end.
	volumesUsed atomic.Bool
	// callerLeft is closed when the caller is gone, whose containers go on if they are detached.
	callerLeft chan struct{}
	// cgroups tells that there have been cgroups, which the kernel does not remove.
	cgroups atomic.Bool
}

func newKeeper() (*keeper, error) {
	ids, err := userns.Current()
	if err != nil {
		return nil, err
	}
	k := &keeper{slots: newSlots(), callerLeft: make(chan struct{}), uids: extents(ids.UIDs), gids: extents(ids.GIDs)}
	k.doors.receive = (*server).receive
	k.warmUp()
	if err := k.openStore(ids); err != nil {
		return nil, err
	}
	if err := k.openScratch(); err != nil {
		return nil, err
	}
	if err := k.openSnapshots(ids.ID()); err != nil {
		return nil, err
	}
	k.volumes = volume.Open(k.home, ids.ID())
	go k.volumes.Sweep(context.Background())
	if k.unified, err = coverCgroups(); err != nil {
		return nil, err
	}
	return k, nil
}

func extents(maps []userns.IDMap) []extent {
	out := make([]extent, len(maps))
	for i, m := range maps {
		out[i] = extent{int64(m.ContainerID), int64(m.Size)}
	}
	return out
}

// single tells whether root is the only user there is.
func (k *keeper) single() bool { return single(k.uids) }

func single(uids []extent) bool { return len(uids) == 1 && uids[0].size == 1 }

func (k *keeper) openStore(ids userns.Mapping) (err error) {
	if k.home, err = storeDir(); err != nil {
		return err
	}
	k.idMap = ids.ID()
	k.store, err = rootfs.Open(k.home, rootfs.StoreOptions{IDs: rootfs.IDs{
		Key: ids.ID(), Single: ids.Single(), MaxUID: last(k.uids), MaxGID: last(k.gids),
	}})
	return err
}

// storeDir returns the store's directory without symlinks, which libcontainer does not accept on the way to a root.
func storeDir() (string, error) {
	dir, err := rootfs.DefaultDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", sandbox.Errorf(sandbox.CodeInvalid, "create the store: %v", err).WithRemedy("set BIVOUAC_HOME to a directory of your own")
	}
	return filepath.EvalSymlinks(dir)
}

func last(extents []extent) uint32 {
	e := extents[len(extents)-1]
	return uint32(e.first + e.size - 1)
}

// openScratch covers the store's run directory with a memory file system, which nobody else sees and which ends with the
// keeper. libcontainer's state is there, and changed files where the kernel can hold them in memory.
func (k *keeper) openScratch() error {
	k.run = filepath.Join(k.home, "run")
	if err := os.MkdirAll(k.run, 0o700); err != nil {
		return fmt.Errorf("create run directory: %w", err)
	}
	if err := unix.Mount("tmpfs", k.run, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=700"); err != nil {
		return fmt.Errorf("mount a memory file system on %s: %w", k.run, err)
	}
	for _, d := range []string{"state", "scratch"} {
		if err := os.Mkdir(filepath.Join(k.run, d), 0o711); err != nil {
			return fmt.Errorf("create run directory: %w", err)
		}
	}
	var err error
	k.scratch, err = newScratch(filepath.Join(k.run, "scratch"), filepath.Join(k.home, "scratch"))
	return err
}

// coverCgroups shows cgroup v2 at /sys/fs/cgroup on a hybrid machine, so that libcontainer asks it instead of every
// version 1 hierarchy, and tells whether the machine itself has it there.
func coverCgroups() (unified bool, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &st); err != nil || st.Type == unix.CGROUP2_SUPER_MAGIC {
		return err == nil, nil // without any cgroups nothing needs covering
	}
	const hybrid = "/sys/fs/cgroup/unified"
	if err := unix.Statfs(hybrid, &st); err != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
		return false, nil
	}
	if err := unix.Mount(hybrid, "/sys/fs/cgroup", "", unix.MS_BIND, ""); err != nil {
		return false, fmt.Errorf("bind %s: %w", hybrid, err)
	}
	return false, nil
}
