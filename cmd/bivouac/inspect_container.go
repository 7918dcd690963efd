package main

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

func (f *inspectFlags) findContainer(ctx context.Context, name string) (any, error) {
	r, err := sandbox.FindRecord(ctx, name)
	if err != nil {
		return nil, err
	}
	c := describeContainer(&r)
	if c.State.Running {
		c.State.Pid = pidOf(ctx, &r)
	}
	if f.size {
		err = c.addSize(ctx, &r)
	}
	return c, err
}

// pidOf is 0 for a program that has ended meanwhile, or waits to be started again.
func pidOf(ctx context.Context, r *sandbox.Record) int {
	a, err := sandbox.Attach(ctx, r.ID)
	if err != nil {
		return 0
	}
	defer a.Close() //nolint:errcheck // the container goes on whatever becomes of the connection
	pid, _ := a.PID(ctx)
	return pid
}

func (c *containerInspection) addSize(ctx context.Context, r *sandbox.Record) error {
	sizes, err := sizesOf(ctx, []sandbox.Record{*r})
	if err != nil {
		return err
	}
	written := sizes[r.ID]
	all := written + imageSize(r.Image.ID)
	c.SizeRw, c.SizeRootFs = &written, &all
	return nil
}

// describeContainer translates what is known of a container into Docker's terms.
func describeContainer(r *sandbox.Record) containerInspection {
	c := containerInspection{
		ID: r.ID, Created: inspectTime(r.Created), Image: r.Image.ID, Name: "/" + r.Name, RestartCount: r.Restarts,
		Driver: "overlay", Platform: runtime.GOOS, State: describeState(&r.Status), HostConfig: describeHostConfig(r),
		Mounts: inspectMounts(r), Config: describeConfig(r), NetworkSettings: describeNetwork(r),
	}
	if len(r.Args) > 0 {
		c.Path, c.Args = r.Args[0], orEmpty(r.Args[1:])
	}
	if dir, err := sandbox.ContainersDir(); err == nil && r.Kept {
		if numbers, err := sandbox.LogNumbers(filepath.Join(dir, r.ID)); err == nil && len(numbers) > 0 {
			c.LogPath = filepath.Join(dir, r.ID, sandbox.LogPrefix+strconv.Itoa(slices.Max(numbers)))
		}
	}
	return c
}

// inspectTime is in Docker's form, which has a zero.
func inspectTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// orEmpty has an empty list shown as such.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func describeState(s *sandbox.Status) inspectedState {
	state := inspectedState{
		Status: string(s.State), Running: isUp(s.State), Paused: s.State == sandbox.StatePaused, Restarting: s.State == sandbox.StateRestarting,
		Error: s.Failure, StartedAt: inspectTime(s.Started), FinishedAt: inspectTime(s.Finished),
	}
	if !isUp(s.State) || s.State == sandbox.StateRestarting { // of one whose start failed too
		state.ExitCode, state.OOMKilled = s.Exit.Code, s.Exit.OOMKilled
	}
	if s.Health != nil {
		state.Health = &inspectedHealth{Status: string(s.Health.Status), FailingStreak: s.Health.FailingStreak, Log: []inspectedCheck{}}
		for _, l := range s.Health.Log {
			state.Health.Log = append(state.Health.Log, inspectedCheck{inspectTime(l.Start), inspectTime(l.End), l.ExitCode, l.Output})
		}
	}
	return state
}

func describeHostConfig(r *sandbox.Record) inspectedHostConfig {
	s := &r.Spec
	h := inspectedHostConfig{
		LogConfig: describeLog(&s.Log), NetworkMode: string(networkOf(r)), PortBindings: map[string][]inspectedPort{},
		RestartPolicy: inspectedRestart{string(s.Restart.Name), s.Restart.MaxRetries}, AutoRemove: !r.Kept || s.AutoRemove, VolumesFrom: s.VolumesFrom,
		CapAdd: s.CapAdd, CapDrop: s.CapDrop, ExtraHosts: s.ExtraHosts, GroupAdd: s.GroupAdd, PublishAllPorts: s.PublishAll,
		ReadonlyRootfs: s.ReadOnly, ShmSize: s.ShmSize, NanoCpus: int64(s.Limits.CPUs * 1e9), Memory: s.Limits.Memory, SecurityOpt: securityOptions(s),
		refusedHostConfig: refusedHostConfig{IpcMode: "private", CgroupnsMode: "private"},
	}
	if h.RestartPolicy.Name == "" {
		h.RestartPolicy.Name = string(sandbox.RestartNo)
	}
	if h.ShmSize == 0 {
		h.ShmSize = 64 << 20
	}
	if h.MemorySwap = s.Limits.Swap; s.Limits.Swap >= 0 && s.Limits.Memory > 0 {
		h.MemorySwap += s.Limits.Memory
	}
	if s.Limits.PIDs > 0 {
		h.PidsLimit = &s.Limits.PIDs
	}
	if s.Init {
		h.Init = &s.Init
	}
	for _, u := range s.Ulimits {
		h.Ulimits = append(h.Ulimits, inspectedUlimit{u.Name, u.Hard, u.Soft})
	}
	for _, p := range s.Publish {
		h.PortBindings[portName(p)] = append(h.PortBindings[portName(p)], askedPort(p))
	}
	h.Binds, h.Tmpfs = bindTexts(s.Mounts)
	return h
}

// securityOptions are those of --security-opt.
func securityOptions(s *sandbox.Spec) []string {
	options := []string{"no-new-privileges"}
	switch s.Seccomp {
	case "":
	case "unconfined":
		options = append(options, "seccomp=unconfined")
	default:
		options = append(options, "seccomp="+s.Seccomp)
	}
	if s.UnmaskPaths {
		options = append(options, "systempaths=unconfined")
	}
	return options
}

// askedPort is a port as it was asked for: empty where a free one was to be found.
func askedPort(p sandbox.PortMapping) inspectedPort {
	asked := inspectedPort{HostIP: p.HostIP}
	if p.HostPort != 0 {
		asked.HostPort = strconv.Itoa(int(p.HostPort))
	}
	if p.HostPortLast > p.HostPort {
		asked.HostPort += "-" + strconv.Itoa(int(p.HostPortLast))
	}
	return asked
}

// bindTexts are mounts in the form of --volume and --tmpfs.
func bindTexts(mounts []sandbox.Mount) (binds []string, tmpfs map[string]string) {
	for _, m := range mounts {
		switch {
		case m.Type == sandbox.MountTmpfs && tmpfs == nil:
			tmpfs = map[string]string{m.Target: tmpfsText(m)}
		case m.Type == sandbox.MountTmpfs:
			tmpfs[m.Target] = tmpfsText(m)
		case m.Source != "":
			binds = append(binds, m.Source+":"+m.Target+":"+modeText(m.ReadOnly))
		}
	}
	return binds, tmpfs
}

func tmpfsText(m sandbox.Mount) string {
	texts := []string{modeText(m.ReadOnly)}
	if m.Size > 0 {
		texts = append(texts, fmt.Sprintf("size=%d", m.Size))
	}
	if m.Mode > 0 {
		texts = append(texts, fmt.Sprintf("mode=%o", m.Mode))
	}
	if m.Exec {
		texts = append(texts, "exec")
	}
	return strings.Join(texts, ",")
}

func modeText(readOnly bool) string {
	if readOnly {
		return "ro"
	}
	return "rw"
}

func describeLog(l *sandbox.LogOptions) inspectedLog {
	log := inspectedLog{Type: "json-file", Config: map[string]string{}}
	if l.None {
		log.Type = "none"
	}
	if l.MaxSize > 0 {
		log.Config["max-size"] = strconv.FormatInt(l.MaxSize, 10)
	}
	if l.MaxFiles > 0 {
		log.Config["max-file"] = strconv.Itoa(l.MaxFiles)
	}
	if len(l.Labels) > 0 {
		log.Config["labels"] = strings.Join(l.Labels, ",")
	}
	if len(l.Env) > 0 {
		log.Config["env"] = strings.Join(l.Env, ",")
	}
	return log
}

func inspectMounts(r *sandbox.Record) []inspectedMount {
	mounts := []inspectedMount{}
	for _, v := range r.Volumes {
		m := inspectedMount{Type: "volume", Name: v.Name, Destination: v.Target, Driver: "local", Mode: modeText(v.ReadOnly), RW: !v.ReadOnly}
		if found, err := sandbox.ReadVolume(v.Name); err == nil {
			m.Source = found.Path
		}
		mounts = append(mounts, m)
	}
	for _, m := range r.Spec.Mounts {
		if m.Type == sandbox.MountVolume {
			continue // is among the volumes
		}
		one := inspectedMount{Type: string(m.Type), Source: m.Source, Destination: m.Target, Mode: modeText(m.ReadOnly), RW: !m.ReadOnly}
		if m.Type == sandbox.MountBind {
			if one.Propagation = m.Propagation; one.Propagation == "" {
				one.Propagation = "rprivate"
			}
		}
		mounts = append(mounts, one)
	}
	return mounts
}

func describeConfig(r *sandbox.Record) inspectedConfig {
	s := &r.Spec
	c := inspectedConfig{
		Hostname: r.Hostname, User: r.User, Tty: s.Terminal != nil, OpenStdin: s.OpenStdin, StdinOnce: s.StdinOnce, Env: orEmpty(r.Env),
		Image: askedImage(r), WorkingDir: r.WorkingDir, Labels: r.Labels, StopTimeout: s.StopTimeout, Healthcheck: r.Info.Health,
		StopSignal: strconv.Itoa(r.StopSignal),
	}
	if s.Health != nil {
		c.Healthcheck = s.Health
	}
	if s.StopSignal != "" {
		c.StopSignal = s.StopSignal
	} else if name := signalName(r.StopSignal); name != "" {
		c.StopSignal = name
	}
	for _, e := range r.ExposedPorts {
		if c.ExposedPorts == nil {
			c.ExposedPorts = map[string]struct{}{}
		}
		c.ExposedPorts[e] = struct{}{}
	}
	if c.Labels == nil {
		c.Labels = map[string]string{}
	}
	c.addCommand(r)
	return c
}

// addCommand splits the program's arguments into entrypoint and command again.
func (c *inspectedConfig) addCommand(r *sandbox.Record) {
	image := commandOfImage{}
	if store, err := openStore(); err == nil && r.Image.ID != "" {
		if found, err := store.Inspect(r.Image.ID, ""); err == nil {
			image = readCommandOfImage(found.Config)
		}
	}
	c.Volumes = image.Volumes
	given := len(r.Spec.Args)
	switch {
	case r.Spec.Entrypoint != nil:
		c.Entrypoint, c.Cmd = *r.Spec.Entrypoint, r.Spec.Args
	case given > 0 && given <= len(r.Args):
		c.Entrypoint, c.Cmd = r.Args[:len(r.Args)-given], r.Spec.Args
	case len(image.Entrypoint) <= len(r.Args):
		c.Entrypoint, c.Cmd = r.Args[:len(image.Entrypoint)], r.Args[len(image.Entrypoint):]
	default:
		c.Cmd = r.Args
	}
	if len(c.Entrypoint) == 0 {
		c.Entrypoint = nil // null, as Docker has it
	}
}

func describeNetwork(r *sandbox.Record) inspectedNetwork {
	n := inspectedNetwork{Ports: map[string][]inspectedPort{}, Networks: map[string]inspectedEndpoint{string(networkOf(r)): {}}}
	if !isUp(r.State) {
		return n
	}
	for _, e := range r.ExposedPorts {
		n.Ports[e] = nil
	}
	for _, p := range r.Ports {
		n.Ports[portName(p)] = append(n.Ports[portName(p)], inspectedPort{p.HostIP, strconv.Itoa(int(p.HostPort))})
	}
	return n
}
