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
	return m, checkMount(m, text)
}

// checkMount refuses fields that the type of the mount does not have.
func checkMount(m sandbox.Mount, text string) error {
	bind := m.Type == sandbox.MountBind
	switch {
	case strings.Contains(text, "\n"):
		return fmt.Errorf("--mount %q: one mount takes one line", text)
	case m.Target == "" || (m.Source == "") == bind:
		return fmt.Errorf("--mount %q: a bind mount needs source and target, a tmpfs a target alone", text)
	case bind && (m.Size != 0 || m.Mode != 0):
		return fmt.Errorf("--mount %q: a bind mount has no size and no mode", text)
	case !bind && m.Propagation != "":
		return fmt.Errorf("--mount %q: a tmpfs has no propagation", text)
	}
	return nil
}

func mountField(m *sandbox.Mount, key, value string, given bool) (err error) {
	switch key {
	case "type":
		m.Type = sandbox.MountType(value)
		return oneOf("type", value, "bind", "tmpfs")
	case "source", "src":
		if value == "" {
			return errors.New("the source is empty")
		}
		m.Source, err = filepath.Abs(value)
	case "target", "destination", "dst":
		m.Target = value
	case "readonly", "ro":
		m.ReadOnly = true
		if given {
			m.ReadOnly, err = strconv.ParseBool(value)
		}
	case "bind-propagation":
		m.Propagation = value
		err = oneOf(key, value, "private", "rprivate", "slave", "rslave")
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
