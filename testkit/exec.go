package testkit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// Command is a command to run in a running container.
type Command struct {
	// Args are the program and its arguments.
	Args []string
	// Env adds to the environment of the container's program, as NAME=VALUE.
	Env []string
	// User is USER[:GROUP] by name or number; empty means the container's.
	User string
	// WorkingDir is an absolute path; empty means the container's.
	WorkingDir string
	// Stdin is what the command reads, nil for nothing.
	Stdin io.Reader
	// Stdout and Stderr get what it prints; where they are nil, [Result] has it.
	Stdout, Stderr io.Writer
}

// Exec runs a command in the container to its end. An exit code other than 0 is no error. When ctx ends the command is
// killed.
func (c *Container) Exec(ctx context.Context, args ...string) (Result, error) {
	return c.ExecWith(ctx, Command{Args: args})
}

// ExecWith is [Container.Exec] with everything that can be said of a command.
func (c *Container) ExecWith(ctx context.Context, cmd Command) (Result, error) {
	result, err := c.runCommand(ctx, cmd)
	return result, c.wrap("exec "+shellJoin(cmd.Args)+" in", err)
}

func (c *Container) runCommand(ctx context.Context, cmd Command) (Result, error) {
	if err := c.use("use"); err != nil {
		return Result{}, err
	}
	if len(cmd.Args) == 0 {
		return Result{}, sandbox.Errorf(sandbox.CodeInvalid, "there is no command")
	}
	p, err := openPipes(cmd.Stdin != nil)
	if err != nil {
		return Result{}, err
	}
	defer p.closeAll()
	program, err := c.box.exec(ctx, sandbox.ExecSpec{
		Args: cmd.Args, Env: cmd.Env, User: cmd.User, WorkingDir: cmd.WorkingDir,
	}, p.theirs)
	if err != nil {
		return Result{}, causeOf(ctx, err)
	}
	p.closeTheirs()
	return cmd.finish(ctx, program, p)
}

// finish passes the streams on until the command has ended.
func (cmd Command) finish(ctx context.Context, program process, p *pipes) (Result, error) {
	var stdout, stderr bytes.Buffer
	var outputs sync.WaitGroup
	var lost [2]error
	outputs.Go(func() { lost[0] = drain(orBuffer(cmd.Stdout, &stdout), p.stdout) })
	outputs.Go(func() { lost[1] = drain(orBuffer(cmd.Stderr, &stderr), p.stderr) })
	if p.stdin != nil {
		go func() {
			_, _ = io.Copy(p.stdin, cmd.Stdin) // ends with the input, or with the command
			_ = p.stdin.Close()
		}()
	}
	exit, err := program.Wait(ctx)
	if err != nil && ctx.Err() != nil {
		kill(program)
	}
	// What the command left running may hold its streams open.
	_ = p.stdout.SetReadDeadline(time.Now().Add(outputGrace))
	_ = p.stderr.SetReadDeadline(time.Now().Add(outputGrace))
	outputs.Wait()
	if err != nil {
		return Result{}, causeOf(ctx, err)
	}
	return Result{Code: exit.Code, Stdout: stdout.Bytes(), Stderr: stderr.Bytes(), Exit: exit}, errors.Join(lost[:]...)
}

// outputGrace is how long a command's output is read after its end, if something holds it open.
const outputGrace = 500 * time.Millisecond

// kill ends a command whose caller has given it up.
func kill(program process) {
	ctx, cancel := context.WithTimeout(context.Background(), outputGrace)
	defer cancel()
	if program.Signal(ctx, syscall.SIGKILL) == nil {
		_, _ = program.Wait(ctx)
	}
}

// drain passes a stream on. What w refuses is read all the same, so that the command can end.
func drain(w io.Writer, r *os.File) error {
	_, err := io.Copy(w, r)
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	_, _ = io.Copy(io.Discard, r)
	return err
}

func orBuffer(w io.Writer, b *bytes.Buffer) io.Writer {
	if w == nil {
		return b
	}
	return w
}
