package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A lab is where contests are held: a directory, and an environment in which nobody's settings or images are found.
type lab struct {
	ctx                      context.Context // ends with an interrupt
	dir                      string
	binary, registry, corpus string
	env                      []string
	stderr                   *os.File
	residents                residents
	made                     int
}

// newLab makes a lab below $TMPDIR. Its close must be called.
//
// Errors: a variable is not set, the caller is root.
func newLab(ctx context.Context) (*lab, error) {
	l := &lab{
		ctx: ctx, binary: os.Getenv("BIVOUAC_E2E_BINARY"), registry: os.Getenv("BIVOUAC_E2E_REGISTRY"), corpus: os.Getenv("BIVOUAC_CORPUS"),
	}
	switch {
	case l.binary == "" || l.registry == "" || l.corpus == "":
		return nil, errors.New("BIVOUAC_E2E_BINARY, BIVOUAC_E2E_REGISTRY and BIVOUAC_CORPUS are not all set: run make bench")
	case os.Geteuid() == 0:
		return nil, errors.New("it measures what ordinary users get, so it does not run as root")
	}
	if err := adoptOrphans(); err != nil {
		return nil, err
	}
	var err error
	if l.dir, err = os.MkdirTemp("", "b"); err != nil {
		return nil, err
	}
	if err := l.furnish(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(l.dir))
	}
	return l, nil
}

func (l *lab) furnish() (err error) {
	l.env = []string{"LANG=C.UTF-8"}
	for _, name := range []string{"PATH", "USER", "LOGNAME"} {
		l.env = append(l.env, name+"="+os.Getenv(name))
	}
	if criu := os.Getenv("BIVOUAC_CRIU"); criu != "" {
		l.env = append(l.env, "BIVOUAC_CRIU="+criu)
	}
	for _, name := range []string{"HOME", "XDG_RUNTIME_DIR", "TMPDIR"} {
		dir, err := l.newDir()
		if err != nil {
			return err
		}
		l.env = append(l.env, name+"="+dir)
	}
	if err := l.offerKeeper(); err != nil {
		return err
	}
	l.stderr, err = os.Create(filepath.Join(l.dir, "stderr"))
	return err
}

// newDir makes an empty directory. Its path is short, as those of sockets below it must be, and podman's.
func (l *lab) newDir() (string, error) {
	l.made++
	dir := filepath.Join(l.dir, fmt.Sprint(l.made))
	return dir, os.Mkdir(dir, 0o700)
}

// command prepares a command that reads nothing and whose output is of no interest. What it writes to standard error goes
// to a file: a pipe would have to be waited for as long as some daemon holds it.
func (l *lab) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(l.ctx, name, args...)
	cmd.Dir, cmd.Env, cmd.Stderr = l.dir, l.env, l.stderr
	return cmd
}

// bivouac prepares a command with a store, and possibly more variables.
func (l *lab) bivouac(store string, args ...string) *exec.Cmd {
	cmd := l.command(l.binary, args...)
	cmd.Env = append(cmd.Environ(), "BIVOUAC_HOME="+store)
	return cmd
}

// run runs commands one after the other. An error shows the command and the end of what it said.
func (l *lab) run(cmds ...*exec.Cmd) error {
	for _, cmd := range cmds {
		if err := l.stderr.Truncate(0); err != nil {
			return err
		}
		if _, err := l.stderr.Seek(0, 0); err != nil {
			return err
		}
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("run %s: %w: %s", strings.Join(cmd.Args, " "), err, l.lastLine())
		}
	}
	return nil
}

// output runs a command and returns what it printed.
func (l *lab) output(cmd *exec.Cmd) (string, error) {
	var out bytes.Buffer
	cmd.Stdout = &out
	err := l.run(cmd)
	return strings.TrimSpace(out.String()), err
}

func (l *lab) lastLine() string {
	data, err := os.ReadFile(l.stderr.Name())
	if err != nil {
		return err.Error()
	}
	text := strings.TrimSpace(string(data))
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// remove deletes a directory of the lab's. Files below it may belong to subordinate ids, so that only who has these ids
// can: a container. It sees the directory and nothing around it, as its own root is in a store beside it.
func (l *lab) remove(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	cmd := exec.Command(l.binary, "run", "-v", dir+":/mnt", "host:", "find", "/mnt", "-xdev", "-mindepth", "1", "-delete")
	cmd.Env = append(l.env, "BIVOUAC_HOME="+l.removersStore()) // works after an interrupt too
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("empty %s: %w: %s", dir, err, out)
	}
	return os.RemoveAll(dir)
}

// removersStore has nothing of subordinate ids in it.
func (l *lab) removersStore() string { return filepath.Join(l.dir, "remover") }

// removeAll deletes the lab.
func (l *lab) removeAll() error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if path := filepath.Join(l.dir, entry.Name()); path != l.removersStore() {
			err = errors.Join(err, l.remove(path))
		}
	}
	return errors.Join(err, os.RemoveAll(l.dir))
}

// flush writes to disk all that is waiting to be written.
func (l *lab) flush() error {
	dir, err := os.Open(l.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(dir.Fd())))
}

func (l *lab) close() error {
	l.residents.end()
	return errors.Join(l.stderr.Close(), l.removeAll())
}
