package criu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Variable names the environment variable that says where CRIU is: its binary, or a directory with usr/sbin/criu in it.
const Variable = "BIVOUAC_CRIU"

// Remedy mends that no usable CRIU is there.
const Remedy = "install CRIU 4.2 or newer (https://criu.org/Installation) and put it on PATH, or unpack its packages " +
	"into a directory and name that in $" + Variable

// firstExtra is the descriptor of the first of [exec.Cmd.ExtraFiles].
const firstExtra = 3

// startTimeout is how long "criu --version" may take.
const startTimeout = 10 * time.Second

// Installation is a CRIU that can be executed.
type Installation struct {
	Path    string // of the binary
	Version Version
	// Loader is the path of the dynamic loader, Libraries are the directories with everything that the binary needs. A
	// static binary has neither.
	Loader    string
	Libraries []string
	// Identity changes when the binary is replaced: what is known of this installation may be kept under it.
	Identity string

	standIn []byte // see the function; nil without one
}

// The reasons why a file is not a usable CRIU, for [errors.Is].
var (
	ErrTooOld   = errors.New("too old")
	ErrNoStart  = errors.New("does not start")
	ErrNotThere = errors.New("not there")
)

// Tried is a file that was looked at and is not a usable CRIU.
type Tried struct {
	Path string
	Err  error // wraps one of the reasons
}

// NotFoundError tells that there is no usable CRIU. It wraps what was wrong with each file that was tried.
type NotFoundError struct {
	// Tried are the files that are there or were asked for, in the order of the search.
	Tried []Tried
}

func (e *NotFoundError) Error() string {
	if len(e.Tried) == 0 {
		return "find CRIU: there is none on PATH or in the system's directories"
	}
	var parts []string
	for _, t := range e.Tried {
		parts = append(parts, t.Err.Error())
	}
	return "find CRIU: " + strings.Join(parts, "; ")
}

func (e *NotFoundError) Unwrap() []error {
	var all []error
	for _, t := range e.Tried {
		all = append(all, t.Err)
	}
	return all
}

// Remedy is what mends it.
func (e *NotFoundError) Remedy() string { return Remedy }

// Find looks for a CRIU that is new enough, and starts it once to ask for its version: in $BIVOUAC_CRIU, and where that is
// not set, on $PATH, in /usr/local/sbin, /usr/sbin and /sbin. One that cannot be used does not hide one later in that
// order.
//
// Errors: [*NotFoundError].
func Find(ctx context.Context) (*Installation, error) {
	var failed NotFoundError
	for _, path := range candidates(os.Getenv(Variable), os.Getenv("PATH")) {
		i, err := Open(ctx, path)
		if err == nil {
			return i, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if os.Getenv(Variable) != "" || !errors.Is(err, ErrNotThere) {
			failed.Tried = append(failed.Tried, Tried{path, err})
		}
	}
	return nil, &failed
}

// candidates are the files that may be CRIU's binary, each once.
func candidates(variable, path string) []string {
	if variable != "" {
		return []string{inDirectory(variable)}
	}
	var all []string
	for _, dir := range append(filepath.SplitList(path), "/usr/local/sbin", "/usr/sbin", "/sbin") {
		file := filepath.Join(dir, "criu")
		real, err := filepath.EvalSymlinks(file)
		if !filepath.IsAbs(file) || err != nil || slices.Contains(all, real) {
			continue
		}
		all = append(all, real)
	}
	return all
}

func inDirectory(path string) string {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return filepath.Join(path, "usr/sbin/criu")
	}
	return path
}

// Open looks at one binary, as Find does.
//
// Errors: [ErrNotThere], [ErrTooOld], [ErrNoStart], and those of the context.
func Open(ctx context.Context, path string) (*Installation, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	i := &Installation{Path: path}
	if i.Identity, err = identity(path); err != nil {
		return nil, err
	}
	if err := i.resolve(); err != nil {
		return nil, fmt.Errorf("%s %w: %w", path, ErrNoStart, err)
	}
	if i.Version, err = i.askTwice(ctx); err != nil {
		return nil, fmt.Errorf("%s %w: %w", path, ErrNoStart, err)
	}
	if i.Version.Less(Oldest) {
		return nil, fmt.Errorf("%s is %s, which is %w: %s or newer is needed", path, i.Version, ErrTooOld, Oldest)
	}
	return i, nil
}

// identity tells one content of a file from another: its inode, size, and times of change.
func identity(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return "", fmt.Errorf("%s is %w", path, ErrNotThere)
	case err != nil:
		return "", fmt.Errorf("%s %w: %w", path, ErrNoStart, err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s %w: it is not a regular file", path, ErrNoStart)
	}
	st := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%s %d:%d %d %d %d", path, st.Dev, st.Ino, st.Size, info.ModTime().UnixNano(), st.Ctim.Nano()), nil
}

// askTwice asks with the stand-in first, and does without it where CRIU does not start with it.
func (i *Installation) askTwice(ctx context.Context) (Version, error) {
	if i.standIn != nil {
		if v, err := i.ask(ctx); err == nil {
			return v, nil
		}
		i.standIn = nil
	}
	return i.ask(ctx)
}

// ask runs "criu --version".
func (i *Installation) ask(ctx context.Context) (Version, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	preload, files := "", []*os.File(nil)
	if i.standIn != nil {
		f, err := memoryFile(i.standIn)
		if err != nil {
			return Version{}, err
		}
		defer func() { _ = f.Close() }()
		preload, files = descriptor(firstExtra), []*os.File{f}
	}
	args := append(i.loaderArgs(i.Loader, i.Path, preload, i.Libraries), "--no-default-config", "--version")
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env, cmd.ExtraFiles = environment, files
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return Version{}, fmt.Errorf("%w: %s", err, firstLine(stderr.String()))
	}
	return parseVersion(string(out))
}
