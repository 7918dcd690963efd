package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/keeper"
)

const tryLong = `Run a command over the machine's own files with nothing written, and list on standard error what it would have changed: files
that it added (A), changed (C) or deleted (D).

The command has your working directory, environment, streams, terminal and network. It sees itself as root, which is you: what
is yours it can change, and besides that directories such as /usr and /etc, of which it has a copy in memory. It sees no
other processes, and an empty /run, /tmp where that is in memory, and other file systems that are on no disk. What it leaves in
/run, /tmp and /dev/shm is said in one line and goes with it.

With --commit the changes are then made to the files themselves, as you, if the command ended with 0. All of them are, or the
chosen ones (--path), or none: where a file was changed by somebody else in the meantime, or you may not write, nothing is.
Each file is replaced as a whole. Modes and times are kept, owners are you, set-user-id bits and devices are never made.

PATTERN is a path, which stands for all below it too, or one with the wildcards of a shell.

The exit code is the command's; 125 if it could not be run or its changes not be applied.`

const tryExample = `  bivouac try make install
  bivouac try --diff sed -i s/blue/green/ ~/.config/theme
  bivouac try --commit --path ./src sh -c 'gofmt -w src; rm -rf build'`

// tryFlags are those of the verb try.
type tryFlags struct {
	commit, stat, diff, quiet bool
	paths                     []string
	format, output            string
}

func newTryCommand() *cobra.Command {
	f := &tryFlags{}
	cmd := &cobra.Command{
		Use:     "try [flags] COMMAND [ARG...]",
		Short:   "Run a command over the machine's own files, and see what it would change",
		Long:    tryLong,
		Example: tryExample,
		Args:    f.checkArgs,
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), args) },
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows the command is the command's
	flags.BoolVar(&f.commit, "commit", false, "make the changes to the files themselves if the command ends with 0")
	flags.StringArrayVar(&f.paths, "path", nil, "report and make only the changes that match `PATTERN`; may be given again")
	flags.BoolVar(&f.stat, "stat", false, "count the changed lines of each file")
	flags.BoolVarP(&f.diff, "diff", "p", false, "show the changed lines")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "do not list the changes")
	flags.StringVar(&f.format, "format", "", "print with `FORMAT`: json, one object a line")
	flags.StringVarP(&f.output, "output", "o", "", "write the list to `FILE` instead of standard error")
	return cmd
}

// checkArgs is about command lines that make no sense.
func (f *tryFlags) checkArgs(_ *cobra.Command, args []string) error {
	switch {
	case len(args) == 0 && f.commit:
		return usageErrorf("try --commit: names no command; give the one whose changes are to be made: bivouac try --commit COMMAND [ARG...]")
	case len(args) == 0:
		return usageErrorf("try needs a command; see \"bivouac try --help\"")
	case f.format != "" && f.format != "json":
		return usageErrorf("--format %q: there is no such format; use json", f.format)
	case f.quiet && (f.stat || f.diff || f.format != "" || f.output != ""):
		return usageErrorf("--quiet contradicts --stat, --diff, --format and --output; leave out one of them")
	case f.diff && (f.stat || f.format != ""):
		return usageErrorf("--diff contradicts --stat and --format; leave out one of them")
	}
	_, err := newChooser(f.paths)
	return err
}

// run is the verb.
func (f *tryFlags) run(ctx context.Context, args []string) error {
	fail := func(err error) error { return exitError{code: runExitCode(err), err: err} }
	t, err := beginTry()
	if err != nil {
		return fail(err)
	}
	spec, err := trySpec(t.seen, args)
	if err != nil {
		return fail(err)
	}
	s, err := newSession(sessionOptions{stdin: true, stdout: true, stderr: true, terminal: spec.Terminal != nil})
	if err != nil {
		return fail(err)
	}
	defer s.close()
	client, err := startClient(ctx)
	if err != nil {
		return fail(err)
	}
	defer client.Abandon() // the keeper ends by itself when the socket does
	signals := catchSignals()
	defer signals.stop()
	c, exit, err := superviseTry(ctx, client, spec, s, signals, &t.began)
	if err != nil {
		return fail(err)
	}
	if err := f.conclude(ctx, t, c, spec, exit); err != nil {
		return exitError{code: exitRunFailed, err: err}
	}
	return exitError{code: exit.Code}
}

// beginTry notes what is to be compared with later.
func beginTry() (*tried, error) {
	began, err := startOfTry()
	if err != nil {
		return nil, err
	}
	seen, err := keeper.ListHostFiles()
	return &tried{began: began, seen: seen}, err
}

// trySpec has the command see what the user sees.
func trySpec(seen *keeper.HostFiles, args []string) (*sandbox.Spec, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find the working directory: %w", err)
	}
	if !seen.Shows(dir) {
		return nil, usageErrorf("try in %s: it lies on a file system in memory or of the kernel, which the command would see empty; change to another directory", printable(dir))
	}
	env := slices.DeleteFunc(os.Environ(), func(e string) bool { return !utf8.ValidString(e) })
	spec := &sandbox.Spec{Image: "host:", Args: args, WorkingDir: filepath.Clean(dir), Env: env, Network: sandbox.NetworkHost, Listed: true}
	if term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd())) {
		spec.Terminal = &sandbox.TerminalSize{}
		if size, ok := ownSize(); ok {
			spec.Terminal = &size
		}
	}
	return spec, nil
}

// superviseTry returns when the command has ended. Its container is still there.
func superviseTry(ctx context.Context, client *sandbox.Client, spec *sandbox.Spec, s *session, signals *signals, began *startTime) (*sandbox.Container, sandbox.Exit, error) {
	c, err := startTry(ctx, client, spec, s, signals, began)
	if err != nil {
		return nil, sandbox.Exit{}, err
	}
	go signals.forward(ctx, c)
	if err := s.attach(c.Terminal); err != nil {
		return nil, sandbox.Exit{}, err
	}
	exit, err := c.Wait(ctx)
	err = errors.Join(err, s.drain())
	s.close() // the terminal is ours again
	return c, exit, err
}

// startTry returns when the command is being executed. A signal before that ends the attempt.
func startTry(ctx context.Context, client *sandbox.Client, spec *sandbox.Spec, s *session, signals *signals, began *startTime) (*sandbox.Container, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer signals.cancelOn(cancel)()
	c, err := client.Create(ctx, *spec, nil)
	if err == nil {
		err = began.pass()
	}
	if err == nil {
		err = c.Start(ctx, s.streams)
	}
	s.started()
	if err != nil {
		return nil, causeOf(ctx, err)
	}
	warn(c.Warnings)
	return c, nil
}

// conclude reports what the command has changed, and makes the changes if that was asked for.
func (f *tryFlags) conclude(ctx context.Context, t *tried, c *sandbox.Container, spec *sandbox.Spec, exit sandbox.Exit) error {
	changes, err := c.Changes(ctx)
	if err != nil {
		return err
	}
	chosen, err := newChooser(f.paths)
	if err != nil {
		return err
	}
	t.view = c.FS(ctx)
	if err := t.choose(chosen, changes); err != nil {
		return err
	}
	var steps []tryStep
	var obstacle error
	if f.commit && exit.Code == 0 { // before the report, which may be a file beside what has changed
		steps, obstacle = t.plan()
	}
	err = errors.Join(f.report(t), obstacle)
	if f.commit || !f.quiet {
		t.tellScratch(os.Stderr)
	}
	if !f.quiet {
		t.tellUnchangeable(os.Stderr, spec.WorkingDir, spec.Args)
	}
	if err != nil || !f.commit {
		return err
	}
	if exit.Code != 0 {
		fmt.Fprintf(os.Stderr, "bivouac: nothing was applied, because the command failed (exit code %d)\n", exit.Code)
		return nil
	}
	if err := t.apply(steps); err != nil || f.quiet {
		return err
	}
	fmt.Fprintf(os.Stderr, "bivouac: applied %s\n", countOf(len(steps), "change"))
	return nil
}

// report prints the changes as the flags say.
func (f *tryFlags) report(t *tried) (err error) {
	if f.quiet {
		return nil
	}
	var w io.Writer = os.Stderr
	if f.output != "" {
		file, err := os.OpenFile(f.output, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
		if err != nil {
			return fmt.Errorf("write the list of changes: %w", err)
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		w = file
	}
	switch {
	case f.format == "json":
		return t.writeJSON(w, f.stat)
	case f.diff:
		return t.writeDiff(w)
	case f.stat:
		return t.writeStat(w)
	}
	return t.writeList(w)
}
