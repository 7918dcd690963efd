package testkit

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/bivouac-run/bivouac/sandbox"
)

// reproduce returns the command line that makes the same container by hand.
func (c *Container) reproduce() string {
	line := reproduce(c.settings)
	if c.origin == nil {
		return line
	}
	s := &c.origin.snapshot
	if !c.origin.stays {
		return fmt.Sprintf("%s # this is a clone of a checkpoint of it (%s), which ends with the test", line, s.Tier)
	}
	return fmt.Sprintf("bivouac restore %.12s # a checkpoint (%s) of: %s", s.ID, s.Tier, line)
}

// reproduce returns the command line that starts the same container by hand. What it cannot say follows as a comment.
func reproduce(s *settings) string {
	spec := &s.spec
	args := []string{"bivouac", "run"}
	args = append(args, processFlags(spec)...)
	args = append(args, mountFlags(spec)...)
	args = append(args, portFlags(spec)...)
	args = append(args, limitFlags(spec)...)
	args = append(args, imageFlags(spec)...)
	args = append(args, commandArgs(spec)...)
	line := shellJoin(args)
	if n := len(s.files); n > 0 {
		line += fmt.Sprintf(" # and %d files that the test puts there before, such as %s", n, s.files[0].target)
	}
	return line
}

// flag returns a flag and its value where there is one.
func flag(name, value string) []string {
	if value == "" {
		return nil
	}
	return []string{name, value}
}

func processFlags(s *sandbox.Spec) []string {
	var args []string
	for _, e := range s.Env {
		args = append(args, "-e", e)
	}
	args = append(args, flag("-w", s.WorkingDir)...)
	args = append(args, flag("-u", s.User)...)
	args = append(args, flag("--hostname", s.Hostname)...)
	args = append(args, flag("--name", s.Name)...)
	args = append(args, flag("--stop-signal", s.StopSignal)...)
	if s.Init {
		args = append(args, "--init")
	}
	return args
}

func mountFlags(s *sandbox.Spec) []string {
	var args []string
	if s.ReadOnly {
		args = append(args, "--read-only")
	}
	for _, m := range s.Mounts {
		if m.Type == sandbox.MountTmpfs {
			args = append(args, "--tmpfs", tmpfsFlag(m))
			continue
		}
		text := "type=" + string(m.Type)
		if m.Source != "" {
			text += ",source=" + m.Source
		}
		text += ",target=" + m.Target
		if m.ReadOnly {
			text += ",readonly"
		}
		if m.Propagation != "" {
			text += ",bind-propagation=" + m.Propagation
		}
		args = append(args, "--mount", text)
	}
	return args
}

func tmpfsFlag(m sandbox.Mount) string {
	var options []string
	if m.Size != 0 {
		options = append(options, fmt.Sprintf("size=%d", m.Size))
	}
	if m.Mode != 0 {
		options = append(options, fmt.Sprintf("mode=%o", m.Mode))
	}
	if m.Exec {
		options = append(options, "exec")
	}
	if m.ReadOnly {
		options = append(options, "ro")
	}
	return strings.TrimSuffix(m.Target+":"+strings.Join(options, ","), ":")
}

func portFlags(s *sandbox.Spec) []string {
	if s.Network == sandbox.NetworkHost {
		return []string{"--network", "host"}
	}
	var args []string
	if s.PublishAll {
		args = append(args, "-P")
	}
	for _, p := range s.Publish {
		text := strconv.Itoa(int(p.Port))
		if p.HostPort != 0 {
			text = fmt.Sprintf("%d:%s", p.HostPort, text)
		}
		if p.HostIP != "" {
			text = strings.TrimSuffix(p.HostIP+":"+strings.TrimPrefix(text, ":"), ":")
		}
		if protocolOf(p) != "tcp" {
			text += "/" + p.Protocol
		}
		args = append(args, "-p", text)
	}
	return args
}

func limitFlags(s *sandbox.Spec) []string {
	var args []string
	if s.Limits.Memory != 0 {
		args = append(args, "--memory", strconv.FormatInt(s.Limits.Memory, 10))
	}
	if s.Limits.CPUs != 0 {
		args = append(args, "--cpus", strconv.FormatFloat(s.Limits.CPUs, 'g', -1, 64))
	}
	if s.Limits.PIDs != 0 {
		args = append(args, "--pids-limit", strconv.FormatInt(s.Limits.PIDs, 10))
	}
	if s.Limits.BestEffort {
		args = append(args, "--limits", "best-effort")
	}
	for _, u := range s.Ulimits {
		args = append(args, "--ulimit", fmt.Sprintf("%s=%d:%d", u.Name, u.Soft, u.Hard))
	}
	for _, name := range s.CapAdd {
		args = append(args, "--cap-add", name)
	}
	for _, name := range s.CapDrop {
		args = append(args, "--cap-drop", name)
	}
	if s.Seccomp == "unconfined" {
		args = append(args, "--security-opt", "seccomp=unconfined")
	}
	return args
}

func imageFlags(s *sandbox.Spec) []string {
	args := flag("--platform", s.Get.Platform)
	args = append(args, flag("--pull", string(s.Get.Pull))...)
	args = append(args, flag("--tls-ca", s.Get.CAFile)...)
	if s.Get.PlainHTTP {
		args = append(args, "--plain-http")
	}
	if s.Get.IgnoreChownErrors {
		args = append(args, "--ignore-chown-errors")
	}
	return args
}

// commandArgs returns the entrypoint, the image and the command. The flag takes the entrypoint's first word, and what
// follows the image is the rest.
func commandArgs(s *sandbox.Spec) []string {
	if s.Entrypoint == nil {
		return append([]string{s.Image}, s.Args...)
	}
	entrypoint := *s.Entrypoint
	if len(entrypoint) == 0 {
		return append([]string{"--entrypoint", "", s.Image}, s.Args...)
	}
	args := append([]string{"--entrypoint", entrypoint[0], s.Image}, entrypoint[1:]...)
	return append(args, s.Args...)
}

var plainWord = regexp.MustCompile(`^[\w@%+=:,./-]+$`)

// shellJoin returns words as a shell reads them.
func shellJoin(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		if quoted[i] = word; !plainWord.MatchString(word) {
			quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
