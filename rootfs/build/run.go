package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/bivouac-run/bivouac/rootfs"
)

// program does a RUN.
func (b *builder) program(ctx context.Context, s *stage, st *state, c *command, parsed *instructions.RunCommand) (*made, error) {
	if err := checkRun(parsed); err != nil {
		return nil, err
	}
	args, script, err := runArgs(st, parsed)
	if err != nil {
		return nil, err
	}
	mounts, err := b.planMounts(ctx, st, c, parsed)
	if err != nil {
		return nil, err
	}
	key := b.key(st)
	key.Run = &runKey{Args: args, Env: st.env, User: st.image.Config.User, Dir: st.dir(), Network: b.network(parsed), Extra: b.spec.RunKey,
		Script: script}
	for _, m := range mounts {
		key.Run.Mounts = append(key.Run.Mounts, m.key)
	}
	m, err := b.once(ctx, c.step, key.String(), s.noCache, func() (rootfs.Layer, error) {
		return b.execute(ctx, st, c, &RunStep{Args: args, Network: runNetwork(parsed)}, mounts, script)
	})
	if err != nil {
		return nil, err
	}
	st.add(m, "RUN "+historyOf(st, args))
	return m, nil
}

// checkRun refuses what is not to be had.
func checkRun(c *instructions.RunCommand) error {
	if security := instructions.GetSecurity(c); security != instructions.SecuritySandbox {
		return fmt.Errorf("RUN --security=%s is not possible: a build has no privileges to give", security)
	}
	if slices.Contains(c.FlagsUsed, "device") {
		return errors.New("RUN --device is not possible: builds have no devices of the machine")
	}
	return nil
}

// runNetwork is what --network asks for; default is that of the build.
func runNetwork(c *instructions.RunCommand) string {
	if network := instructions.GetNetwork(c); network != instructions.NetworkDefault {
		return network
	}
	return ""
}

func (b *builder) network(c *instructions.RunCommand) string {
	for _, network := range []string{runNetwork(c), b.spec.Network} {
		if network != "" {
			return network
		}
	}
	return instructions.NetworkHost
}

// scriptDir is where a heredoc that begins with #! lies while it runs.
const scriptDir = "/dev/pipes/"

// heredoc is the script of a RUN <<EOF that begins with #!.
type heredoc struct{ Name, Text string }

// runArgs returns the command line. A single heredoc is what the shell runs, or a script of its own.
func runArgs(st *state, c *instructions.RunCommand) (args []string, script *heredoc, err error) {
	args = c.CmdLine
	if len(c.Files) > 0 {
		if len(args) != 1 || !c.PrependShell {
			return nil, nil, fmt.Errorf("RUN with a heredoc is a single line for a shell, not %q", args)
		}
		if args, script, err = heredocArgs(args[0], c.Files); err != nil || script != nil {
			return args, script, err
		}
	}
	if c.PrependShell {
		args = append(st.shell(), strings.Join(args, " "))
	}
	return args, nil, nil
}

func heredocArgs(line string, files []instructions.ShellInlineFile) ([]string, *heredoc, error) {
	doc, err := parser.ParseHeredoc(line)
	if err != nil {
		return nil, nil, err
	}
	if doc == nil { // more than <<EOF: the shell is to make sense of it
		for _, file := range files {
			line += "\n" + file.Data + file.Name
		}
		return []string{line}, nil, nil
	}
	data := files[0].Data
	if files[0].Chomp {
		data = parser.ChompHeredocContent(data)
	}
	if !strings.HasPrefix(data, "#!") {
		return []string{data}, nil, nil
	}
	return []string{scriptDir + files[0].Name}, &heredoc{files[0].Name, data}, nil
}

// execute runs the program and makes a layer of what it has changed.
func (b *builder) execute(ctx context.Context, st *state, c *command, run *RunStep, mounts []*plannedMount, script *heredoc) (rootfs.Layer, error) {
	var err error
	if run.Overlay, err = b.work.overlay(st.lowers, b.store.IDs().Single); err != nil {
		return rootfs.Layer{}, err
	}
	ready, release, err := b.readyMounts(ctx, mounts)
	if err != nil {
		return rootfs.Layer{}, err
	}
	defer release()
	if script != nil {
		m, err := b.scriptMount(script)
		if err != nil {
			return rootfs.Layer{}, err
		}
		ready = append(ready, m)
	}
	run.Env, run.User, run.Dir, run.Platform = st.env.withProxies(b.spec.Args), st.image.Config.User, st.dir(), st.platform
	run.Env, run.Mounts, run.Name = withAgent(run.Env, ready), ready, c.step.name
	run.Stdout, run.Stderr = output{c.step, "stdout"}, output{c.step, "stderr"}
	if err := b.worker.Run(ctx, run); err != nil {
		return rootfs.Layer{}, err
	}
	return b.layer(ctx, run.Overlay, run.Omit)
}

// layer makes a layer of an upper directory, which is gone then.
func (b *builder) layer(ctx context.Context, o Overlay, omit []string) (rootfs.Layer, error) {
	return b.store.CreateLayer(ctx, rootfs.NewLayer{Upper: o.Upper, Take: true, Omit: omit, Lower: o.Lowers, Latest: b.latest()})
}

func (b *builder) scriptMount(script *heredoc) (Mount, error) {
	dir, err := b.work.dir("script")
	if err != nil {
		return Mount{}, err
	}
	file := filepath.Join(dir, filepath.Base(script.Name))
	if err := os.WriteFile(file, []byte(script.Text), 0o755); err != nil {
		return Mount{}, err
	}
	if err := os.Chmod(file, 0o755); err != nil {
		return Mount{}, err
	}
	return Mount{Kind: MountBind, Source: dir, Target: strings.TrimSuffix(scriptDir, "/"), ReadOnly: true}, nil
}

// withAgent tells where the first agent of --mount=type=ssh is.
func withAgent(env environ, mounts []Mount) environ {
	for _, m := range mounts {
		if m.Kind == MountSSH {
			return env.with("SSH_AUTH_SOCK", m.Target)
		}
	}
	return env
}

// historyOf is the command line with the arguments that it could see, as Docker writes it.
func historyOf(st *state, args []string) string {
	var known []string
	for _, arg := range st.args {
		value, _ := st.env.Get(arg.Key)
		line := arg.Key + "=" + value
		if !slices.Contains(known, line) {
			known = append(known, line)
		}
	}
	if len(known) > 0 {
		known = append([]string{fmt.Sprintf("|%d", len(known))}, known...)
	}
	return strings.Join(append(known, args...), " ")
}

// workdir does a WORKDIR: it makes the directory if there is none.
func (b *builder) workdir(ctx context.Context, s *stage, st *state, c *command, parsed *instructions.WorkdirCommand) (*made, error) {
	note, err := st.apply(parsed)
	if err != nil {
		return nil, err
	}
	key := b.key(st)
	key.Workdir = &workdirKey{Path: st.dir(), User: st.image.Config.User}
	if st.dir() == "/" {
		st.note(note)
		return &made{entry: &Entry{}}, nil
	}
	m, err := b.once(ctx, c.step, key.String(), s.noCache, func() (rootfs.Layer, error) {
		return b.change(ctx, st, func(t *target) error {
			o, err := t.userOf(st.image.Config.User)
			if err != nil {
				return err
			}
			t.owner = o
			dir, err := t.makeAll(st.dir())
			if err != nil {
				return err
			}
			return dir.Close()
		})
	})
	if err != nil {
		return nil, err
	}
	st.add(m, note)
	return m, nil
}

// change lets do change the files of a state, and makes a layer of that.
func (b *builder) change(ctx context.Context, st *state, do func(*target) error) (_ rootfs.Layer, err error) {
	o, err := b.work.overlay(st.lowers, b.store.IDs().Single)
	if err != nil {
		return rootfs.Layer{}, err
	}
	if err := b.inRoot(ctx, o, do); err != nil {
		return rootfs.Layer{}, err
	}
	return b.layer(ctx, o, nil)
}

// inRoot mounts an overlay for do.
func (b *builder) inRoot(ctx context.Context, o Overlay, do func(*target) error) (err error) {
	dir, unmount, err := b.worker.Mount(ctx, o)
	if err != nil {
		return fmt.Errorf("mount the image: %w", err)
	}
	defer func() { err = errors.Join(err, unmount()) }()
	root, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return do(&target{root: root, single: b.store.IDs().Single})
}
