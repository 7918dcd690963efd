package build

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/handle"
	"github.com/bivouac-run/bivouac/rootfs/nstest"
	"github.com/bivouac-run/bivouac/rootfs/overlay"
	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

// lab is a store with a worker that mounts overlays and runs a few commands of its own.
type lab struct {
	testing.TB
	store  *rootfs.Store
	worker *fakeWorker
	dir    string // the context
	events []Event
}

// inLab runs a test for both kinds of users.
func inLab(t *testing.T, test func(l *lab)) {
	t.Helper()
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) { test(newLab(t, mode)) })
}

// inOneLab runs it for one of them.
func inOneLab(t *testing.T, test func(l *lab)) {
	t.Helper()
	nstest.Run(t, func(t *testing.T, mode nstest.Mode) { test(newLab(t, mode)) }, nstest.Single)
}

func newLab(t testing.TB, mode nstest.Mode) *lab {
	t.Helper()
	top, err := os.MkdirTemp("", "build-test-")
	must(t, err)
	t.Cleanup(func() { must(t, unpack.Remove(top)) })
	l := &lab{TB: t, dir: filepath.Join(top, "context")}
	must(t, os.Mkdir(l.dir, 0o755))
	l.openStore(filepath.Join(top, "store"), mode)
	l.worker = &fakeWorker{lab: l, mounts: filepath.Join(top, "mounts")}
	must(t, os.Mkdir(l.worker.mounts, 0o700))
	return l
}

func (l *lab) openStore(dir string, mode nstest.Mode) {
	l.Helper()
	ids := rootfs.IDs{Key: string(mode), Single: mode == nstest.Single, MaxUID: uint32(nstest.MaxID(l)), MaxGID: uint32(nstest.MaxID(l))}
	var err error
	l.store, err = rootfs.Open(dir, rootfs.StoreOptions{IDs: ids})
	must(l, err)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// files makes files in the context: names that end in / are directories, contents that begin with -> are symlinks.
func (l *lab) files(pairs ...string) {
	l.Helper()
	for i := 0; i < len(pairs); i += 2 {
		name, content := filepath.Join(l.dir, pairs[i]), pairs[i+1]
		must(l, os.MkdirAll(filepath.Dir(name), 0o755))
		link, isLink := strings.CutPrefix(content, "->")
		switch {
		case strings.HasSuffix(pairs[i], "/"):
			must(l, os.MkdirAll(name, 0o755))
		case isLink:
			must(l, os.Symlink(link, name))
		default:
			must(l, os.WriteFile(name, []byte(content), 0o644))
			old := time.Now().Add(-time.Hour)
			must(l, os.Chtimes(name, old, old))
		}
	}
}

// try builds a Dockerfile.
func (l *lab) try(text string, change ...func(*Spec)) (*rootfs.Image, error) {
	l.Helper()
	spec := Spec{Context: l.dir, Text: strings.ReplaceAll(text, "\n\t\t", "\n")}
	for _, c := range change {
		c(&spec)
	}
	l.events, l.worker.ran = nil, nil
	return Run(context.Background(), l.store, spec, l.worker, func(e Event) { l.events = append(l.events, e) })
}

func (l *lab) build(text string, change ...func(*Spec)) *rootfs.Image {
	l.Helper()
	img, err := l.try(text, change...)
	if err != nil {
		l.Fatalf("%s\n%v\n%s", text, err, excerptOf(err))
	}
	return img
}

func excerptOf(err error) string {
	var syntax *SyntaxError
	var step *StepError
	switch {
	case errors.As(err, &syntax):
		return syntax.Excerpt
	case errors.As(err, &step):
		return step.Excerpt
	}
	return ""
}

// fails builds a Dockerfile that cannot be built, and returns why.
func (l *lab) fails(text string, change ...func(*Spec)) error {
	l.Helper()
	img, err := l.try(text, change...)
	if err == nil {
		l.Fatalf("%s\nthat was built: %v", text, img.ID)
	}
	return err
}

// named gives the image a name.
func named(name string) func(*Spec) {
	return func(s *Spec) {
		ref, err := rootfs.ParseReference(name)
		if err != nil {
			panic(err)
		}
		s.Names = append(s.Names, ref)
	}
}

func args(pairs ...string) func(*Spec) {
	return func(s *Spec) {
		s.Args = map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			s.Args[pairs[i]] = pairs[i+1]
		}
	}
}

// tree lists the files of an image: mode, owner, name, and content or target.
func (l *lab) tree(img *rootfs.Image) string {
	l.Helper()
	var b strings.Builder
	must(l, l.worker.mounted(Overlay{Lowers: img.Layers}, func(root string) error {
		return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || path == root {
				return err
			}
			return l.describe(&b, root, path)
		})
	}))
	return b.String()
}

func (l *lab) describe(b *strings.Builder, root, path string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err
	}
	o := handle.Owner{UID: st.Uid, GID: st.Gid}
	if kindOf(&st) != unix.S_IFLNK {
		opened, err := os.Open(path)
		if err != nil {
			return err
		}
		defer opened.Close()
		o = ownerOf(opened, &st, l.store.IDs().Single)
	}
	fmt.Fprintf(b, "%o %d:%d %s", st.Mode&0o7777, o.UID, o.GID, strings.TrimPrefix(path, root+"/"))
	switch kindOf(&st) {
	case unix.S_IFLNK:
		link, err := os.Readlink(path)
		if err != nil {
			return err
		}
		b.WriteString(" -> " + link)
	case unix.S_IFREG:
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b.WriteString(" = " + strings.ReplaceAll(string(content), "\n", `\n`))
	case unix.S_IFDIR:
		b.WriteString("/")
	}
	b.WriteString("\n")
	return nil
}

// has checks that an image has exactly these files, as tree writes them.
func (l *lab) has(img *rootfs.Image, want ...string) {
	l.Helper()
	got := strings.Split(strings.TrimSuffix(l.tree(img), "\n"), "\n")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		l.Errorf("have:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// count counts events of a kind.
func (l *lab) count(kind EventKind) (n int) {
	for _, e := range l.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

func (l *lab) text(kind EventKind) string {
	var b strings.Builder
	for _, e := range l.events {
		if e.Kind == kind {
			b.Write(e.Text)
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// fakeWorker mounts overlays and runs commands in Go.
type fakeWorker struct {
	lab    *lab
	mounts string

	mu       sync.Mutex
	ran      []*RunStep
	mounting func()              // is called before each mount
	during   func(step *RunStep) // called while a program runs
	pulls    int
	open     int // mounts that are not unmounted
}

func (w *fakeWorker) Pull(ctx context.Context, ref, platform string, _ func(rootfs.Event)) (*rootfs.Image, error) {
	w.mu.Lock()
	w.pulls++
	w.mu.Unlock()
	parsed, err := rootfs.ParseReference(ref)
	if err != nil {
		return nil, err
	}
	return w.lab.store.Pull(ctx, parsed, rootfs.PullOptions{Policy: rootfs.Never, Platform: platform})
}

func (w *fakeWorker) Push(context.Context, *rootfs.Image, string, func(rootfs.Event)) error {
	return errors.ErrUnsupported
}

func (w *fakeWorker) Mount(_ context.Context, o Overlay) (string, func() error, error) {
	if w.mounting != nil {
		w.mounting()
	}
	dir, err := os.MkdirTemp(w.mounts, "")
	if err != nil {
		return "", nil, err
	}
	options := overlay.Options{Lower: o.Lowers, Upper: o.Upper, Work: o.Work}
	if err := overlay.Mount(dir, options); err != nil {
		return "", nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open++
	return dir, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.open--
		return overlay.Unmount(dir)
	}, nil
}

func (w *fakeWorker) mounted(o Overlay, do func(root string) error) error {
	if len(o.Lowers) == 0 {
		empty, err := os.MkdirTemp(w.mounts, "empty")
		if err != nil {
			return err
		}
		o.Lowers = []string{empty}
	}
	root, unmount, err := w.Mount(context.Background(), o)
	if err != nil {
		return err
	}
	return errors.Join(do(root), unmount())
}

func (w *fakeWorker) Run(ctx context.Context, step *RunStep) error {
	w.mu.Lock()
	w.ran = append(w.ran, step)
	w.mu.Unlock()
	if w.during != nil {
		w.during(step)
	}
	if strings.HasPrefix(step.Args[0], scriptDir) {
		return nil
	}
	return w.mounted(step.Overlay, func(root string) error {
		for command := range strings.SplitSeq(step.Args[len(step.Args)-1], " && ") {
			if err := w.command(root, step, strings.Fields(command)); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
}

// command does one of: write PATH TEXT, append PATH TEXT, mkdir PATH, rm PATH, print TEXT, env NAME, cat PATH, fail CODE, true.
func (w *fakeWorker) command(root string, step *RunStep, words []string) error {
	at := func(i int) string { return w.resolve(root, step, words[i]) }
	switch words[0] {
	case "write":
		return os.WriteFile(at(1), []byte(strings.Join(words[2:], " ")), 0o644)
	case "append":
		old, _ := os.ReadFile(at(1))
		return os.WriteFile(at(1), append(old, strings.Join(words[2:], " ")...), 0o644)
	case "mkdir":
		return os.MkdirAll(at(1), 0o755)
	case "rm":
		return os.RemoveAll(at(1))
	case "print":
		_, err := fmt.Fprintln(step.Stdout, strings.Join(words[1:], " "))
		return err
	case "env":
		value, _ := environ(step.Env).Get(words[1])
		_, err := fmt.Fprintln(step.Stdout, value)
		return err
	case "cat":
		content, err := os.ReadFile(at(1))
		if err != nil {
			return &ExitError{Args: step.Args, Code: 1}
		}
		_, err = step.Stdout.Write(content)
		return err
	case "fail":
		code := 0
		_, _ = fmt.Sscan(words[1], &code)
		return &ExitError{Args: step.Args, Code: code}
	case "true":
		return nil
	}
	return &ExitError{Args: step.Args, Code: 127}
}

// resolve is where a path of the container is: in a mount, or in the root.
func (w *fakeWorker) resolve(root string, step *RunStep, path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(step.Dir, path)
	}
	for _, m := range step.Mounts {
		if rest, ok := strings.CutPrefix(path, m.Target); ok && m.Source != "" {
			return m.Source + rest
		}
	}
	return filepath.Join(root, path)
}

// archive makes a tar archive of headers; contents are their names' last letters.
func archive(t testing.TB, headers ...*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := ""
		if h.Typeflag == 0 || h.Typeflag == tar.TypeReg {
			h.Typeflag = tar.TypeReg
			content = h.Name
			h.Size = int64(len(content))
		}
		must(t, w.WriteHeader(h))
		_, err := io.WriteString(w, content)
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

func errorsIs(err error, code rootfs.Code) bool { return errors.Is(err, code) }
