package keeper

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/volume"
	"github.com/bivouac-run/bivouac/sandbox"
)

// checkSpec refuses what would fail later with less to say, or do something else than what was asked.
func checkSpec(s *sandbox.Spec) error {
	if !slices.Contains([]sandbox.Network{"", sandbox.NetworkNone, sandbox.NetworkHost}, s.Network) {
		return sandbox.Errorf(sandbox.CodeInvalid, "set network %q: no such network", s.Network).WithRemedy("use none or host")
	}
	if s.Name != "" && !validName(s.Name) {
		return sandbox.Errorf(sandbox.CodeInvalid, "name the container %q: not a valid name", s.Name).WithRemedy("use letters, digits, '_', '.' and '-', starting with a letter or digit")
	}
	if err := errors.Join(checkRestartPolicy(s), checkLog(s.Log)); err != nil {
		return err
	}
	if err := checkCheckpointable(s); err != nil {
		return err
	}
	for _, m := range s.Mounts {
		if err := checkMount(m); err != nil {
			return err
		}
	}
	return nil
}

// checkCheckpointable refuses what would keep CRIU from dumping the container's processes for certain.
func checkCheckpointable(s *sandbox.Spec) error {
	why := ""
	switch {
	case !s.Checkpointable:
		return nil
	case s.Terminal != nil:
		why = "a terminal, whose other end is outside"
	case s.Init:
		why = "an init that keeps orphans for itself"
	case s.Network == sandbox.NetworkHost:
		why = "the host's network"
	default:
		return nil
	}
	return sandbox.Errorf(sandbox.CodeInvalid, "prepare %s for checkpoints: its processes cannot be checkpointed with %s", s.Image, why).WithRemedy("leave one of the two out")
}

func validName(name string) bool {
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && (i == 0 || r != '_' && r != '.' && r != '-') {
			return false
		}
	}
	return len(name) <= 128
}

func checkMount(m sandbox.Mount) error {
	if !path.IsAbs(m.Target) || path.Clean(m.Target) == "/" {
		return sandbox.Errorf(sandbox.CodeMount, "mount on %q: the target must be an absolute path below /", m.Target).WithRemedy("give a path such as /data")
	}
	switch m.Type {
	case sandbox.MountTmpfs:
		return nil
	case sandbox.MountVolume:
		if m.Source == "" {
			return nil
		}
		return volume.CheckName(m.Source)
	case sandbox.MountBind:
		return checkBind(m)
	default:
		return sandbox.Errorf(sandbox.CodeMount, "mount on %s: unknown type %q", m.Target, m.Type).WithRemedy("use bind, volume or tmpfs")
	}
}

func checkBind(m sandbox.Mount) error {
	if !filepath.IsAbs(m.Source) {
		return sandbox.Errorf(sandbox.CodeMount, "mount %q on %s: the source is not absolute", m.Source, m.Target).WithRemedy("give an absolute path")
	}
	var st unix.Statfs_t
	err := unix.Statfs(m.Source, &st)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return sandbox.Errorf(sandbox.CodeMount, "mount %s on %s: the source does not exist", m.Source, m.Target).WithRemedy("create it first")
	case err != nil:
		return sandbox.Errorf(sandbox.CodeMount, "mount %s on %s: %v", m.Source, m.Target, err)
	case st.Flags&unix.ST_RDONLY != 0 && !m.ReadOnly:
		return sandbox.Errorf(sandbox.CodeMount, "mount %s on %s: the source is read-only", m.Source, m.Target).WithRemedy("mount it read-only (:ro, or readonly)")
	}
	return nil
}
