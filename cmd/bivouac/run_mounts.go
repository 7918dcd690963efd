package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bivouac-run/bivouac/sandbox"
)

func (f *runFlags) setMounts(s *sandbox.Spec) error {
	for _, kind := range []struct {
		texts []string
		parse func(string) (sandbox.Mount, error)
	}{{f.volumes, parseVolume}, {f.mounts, parseMount}, {f.tmpfs, parseTmpfs}} {
		for _, text := range kind.texts {
			m, err := kind.parse(text)
			if err != nil {
				return err
			}
			s.Mounts = append(s.Mounts, m)
		}
	}
	return nil
}

// parseVolume reads [SOURCE:]TARGET[:OPTIONS]. A source that is no path is a volume's name, and none an anonymous volume.
func parseVolume(text string) (sandbox.Mount, error) {
	bad := func(why string) (sandbox.Mount, error) {
		return sandbox.Mount{}, fmt.Errorf("--volume %q: %s", text, why)
	}
	parts := strings.Split(text, ":")
	if len(parts) > 3 || parts[0] == "" {
		return bad("needs [SOURCE:]TARGET[:OPTIONS]")
	}
	m := sandbox.Mount{Type: sandbox.MountVolume, Target: parts[0]}
	if len(parts) > 1 {
		m.Source, m.Target = parts[0], parts[1]
	}
	if m.Source != "" && strings.ContainsAny(m.Source[:1], "/.~") {
		source, err := filepath.Abs(m.Source)
		if err != nil {
			return bad(err.Error())
		}
		m.Type, m.Source = sandbox.MountBind, source
	}
	if len(parts) == 3 {
		for _, o := range strings.Split(parts[2], ",") {
			if err := volumeOption(&m, o); err != nil {
				return bad(err.Error())
			}
		}
	}
	return m, nil
}

func volumeOption(m *sandbox.Mount, option string) error {
	bind := m.Type == sandbox.MountBind
	switch {
	case option == "ro" || option == "readonly":
		m.ReadOnly = true
	case option == "rw":
		m.ReadOnly = false
	case option == "nocopy" && !bind:
		m.NoCopy = true
	case bind && oneOf("", option, "private", "rprivate", "slave", "rslave") == nil:
		m.Propagation = option
	case bind && oneOf("", option, "consistent", "cached", "delegated") == nil: // how stale a view may be: none is
	case option == "z" || option == "Z":
		return fmt.Errorf("the option %q relabels files for SELinux, which is not supported; leave it out", option)
	case bind:
		return fmt.Errorf("unknown option %q; use ro, rw, private, rprivate, slave, rslave", option)
	default:
		return fmt.Errorf("unknown option %q of a volume; use ro, rw, nocopy", option)
	}
	return nil
}

// parseMount reads the comma-separated KEY=VALUE pairs of --mount. Without a type it is a volume, as in Docker, unless the
// source is a path.
func parseMount(text string) (sandbox.Mount, error) {
	m := sandbox.Mount{}
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return m, fmt.Errorf("--mount %q: %w", text, err)
	}
	for _, field := range fields {
		key, value, given := strings.Cut(field, "=")
		if err := mountField(&m, strings.ToLower(key), value, given); err != nil {
			return m, fmt.Errorf("--mount %q: %w", text, err)
		}
	}
	if m.Type == "" {
		m.Type = sandbox.MountVolume
		if strings.Contains(m.Source, "/") {
			m.Type = sandbox.MountBind
		}
	}
	if m.Type == sandbox.MountBind && m.Source != "" {
		if m.Source, err = filepath.Abs(m.Source); err != nil {
			return m, fmt.Errorf("--mount %q: %w", text, err)
		}
	}
	return m, checkMount(m, text)
}

// checkMount refuses fields that the type of the mount does not have.
func checkMount(m sandbox.Mount, text string) error {
	bind, tmpfs, volume := m.Type == sandbox.MountBind, m.Type == sandbox.MountTmpfs, m.Type == sandbox.MountVolume
	if strings.Contains(text, "\n") {
		return fmt.Errorf("--mount %q: one mount takes one line", text)
	}
	switch {
	case m.Target == "" || bind == (m.Source == "") && !volume:
		return fmt.Errorf("--mount %q: a bind mount needs source and target, a tmpfs a target alone, a volume a target", text)
	case !tmpfs && (m.Size != 0 || m.Mode != 0):
		return fmt.Errorf("--mount %q: only a tmpfs has a size and a mode", text)
	case !bind && m.Propagation != "":
		return fmt.Errorf("--mount %q: only a bind mount has a propagation", text)
	case !volume && m.NoCopy:
		return fmt.Errorf("--mount %q: volume-nocopy is for volumes alone", text)
	case volume && strings.Contains(m.Source, "/"):
		return fmt.Errorf("--mount %q: the source of a volume is its name, which has no slash; for a path add type=bind", text)
	}
	return nil
}

func mountField(m *sandbox.Mount, key, value string, given bool) (err error) {
	switch key {
	case "type":
		m.Type = sandbox.MountType(value)
		return oneOf("type", value, "bind", "tmpfs", "volume")
	case "source", "src":
		m.Source = value
		if value == "" {
			return errors.New("the source is empty")
		}
	case "target", "destination", "dst":
		m.Target = value
	case "readonly", "ro":
		m.ReadOnly, err = boolField(value, given)
	case "volume-nocopy":
		m.NoCopy, err = boolField(value, given)
	case "bind-propagation":
		m.Propagation = value
		err = oneOf(key, value, "private", "rprivate", "slave", "rslave")
	case "consistency":
		err = oneOf(key, value, "default", "consistent", "cached", "delegated") // how stale a view may be: none is
	case "tmpfs-size":
		m.Size, err = size(key, value)
	case "tmpfs-mode":
		m.Mode, err = fileMode(value)
	default:
		err = fmt.Errorf("unknown key %q", key)
	}
	return err
}

// boolField reads a key that may stand alone for true.
func boolField(value string, given bool) (bool, error) {
	if !given {
		return true, nil
	}
	return strconv.ParseBool(value)
}

func fileMode(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 8, 12)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("mode %q: needs octal digits such as 1777", text)
	}
	return uint32(n), nil
}

// parseTmpfs reads TARGET[:OPTIONS].
func parseTmpfs(text string) (sandbox.Mount, error) {
	target, options, given := strings.Cut(text, ":")
	m := sandbox.Mount{Type: sandbox.MountTmpfs, Target: target}
	if !given {
		return m, nil
	}
	for _, o := range strings.Split(options, ",") {
		if err := tmpfsOption(&m, o); err != nil {
			return m, fmt.Errorf("--tmpfs %q: %w", text, err)
		}
	}
	return m, nil
}

func tmpfsOption(m *sandbox.Mount, option string) (err error) {
	key, value, given := strings.Cut(option, "=")
	if bare := key != "size" && key != "mode"; bare && given || key == "size" && value == "" {
		return fmt.Errorf("unknown option %q; use size, mode, exec, ro", option)
	}
	switch key {
	case "nosuid", "nodev": // so it is
	case "ro", "rw":
		m.ReadOnly = key == "ro"
	case "exec", "noexec":
		m.Exec = key == "exec"
	case "size":
		m.Size, err = size(key, value)
	case "mode":
		m.Mode, err = fileMode(value)
	default:
		err = fmt.Errorf("unknown option %q; use size, mode, exec, ro", option)
	}
	return err
}
