package main

import (
	"encoding/csv"
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

// parseVolume reads SOURCE:TARGET[:OPTIONS].
func parseVolume(text string) (sandbox.Mount, error) {
	bad := func(why string) (sandbox.Mount, error) {
		return sandbox.Mount{}, fmt.Errorf("--volume %q: %s", text, why)
	}
	parts := strings.Split(text, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return bad("needs SOURCE:TARGET[:OPTIONS]; for an empty directory use --tmpfs TARGET")
	}
	if !strings.ContainsAny(parts[0][:min(1, len(parts[0]))], "/.~") {
		return bad("named volumes are not supported; give a path, such as ./" + parts[0])
	}
	source, err := filepath.Abs(parts[0])
	if err != nil {
		return bad(err.Error())
	}
	m := sandbox.Mount{Type: sandbox.MountBind, Source: source, Target: parts[1]}
	if len(parts) == 3 {
		for _, o := range strings.Split(parts[2], ",") {
			if err := bindOption(&m, o); err != nil {
				return bad(err.Error())
			}
		}
	}
	return m, nil
}

func bindOption(m *sandbox.Mount, option string) error {
	switch option {
	case "ro", "readonly":
		m.ReadOnly = true
	case "rw":
		m.ReadOnly = false
	case "private", "rprivate", "slave", "rslave":
		m.Propagation = option
	case "z", "Z":
		return fmt.Errorf("the option %q relabels files for SELinux, which is not supported; leave it out", option)
	default:
		return fmt.Errorf("unknown option %q; use ro, rw, private, rprivate, slave, rslave", option)
	}
	return nil
}

// parseMount reads the comma-separated KEY=VALUE pairs of --mount.
func parseMount(text string) (sandbox.Mount, error) {
	m := sandbox.Mount{Type: sandbox.MountBind}
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
	if m.Target == "" || (m.Source == "") == (m.Type == sandbox.MountBind) {
		return m, fmt.Errorf("--mount %q: a bind mount needs source and target, a tmpfs a target alone", text)
	}
	return m, nil
}

func mountField(m *sandbox.Mount, key, value string, given bool) (err error) {
	switch key {
	case "type":
		m.Type = sandbox.MountType(value)
		return oneOf("type", value, "bind", "tmpfs")
	case "source", "src":
		m.Source, err = filepath.Abs(value)
	case "target", "destination", "dst":
		m.Target = value
	case "readonly", "ro":
		m.ReadOnly = true
		if given {
			m.ReadOnly, err = strconv.ParseBool(value)
		}
	case "bind-propagation":
		err = bindOption(m, value)
	case "tmpfs-size":
		m.Size, err = size(key, value)
	case "tmpfs-mode":
		m.Mode, err = fileMode(value)
	default:
		err = fmt.Errorf("unknown key %q", key)
	}
	return err
}

func fileMode(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 8, 12)
	if err != nil {
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
	key, value, _ := strings.Cut(option, "=")
	switch key {
	case "rw", "noexec", "nosuid", "nodev": // so it is
	case "ro":
		m.ReadOnly = true
	case "exec":
		m.Exec = true
	case "size":
		m.Size, err = size(key, value)
	case "mode":
		m.Mode, err = fileMode(value)
	default:
		err = fmt.Errorf("unknown option %q; use size, mode, exec, ro", option)
	}
	return err
}
