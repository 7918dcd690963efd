package build

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/handle"
	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

// TestHostileLinks has links in contexts and images that lead out of them.
func TestHostileLinks(t *testing.T) {
	inLab(t, func(l *lab) {
		outside := filepath.Join(filepath.Dir(l.dir), "outside")
		must(l, os.Mkdir(outside, 0o755))
		must(l, os.WriteFile(filepath.Join(outside, "secret"), []byte("hush"), 0o644))
		l.files("out", "->"+outside, "up", "->../outside", "deep/up", "->../../outside/secret", "loop", "->loop", "a", "A")
		for _, text := range []string{"COPY out/secret /", "COPY up/secret /", "COPY deep/up /x", "COPY out /t", "COPY loop /x", "COPY ../outside/secret /",
			"COPY out/* /t/x/", "RUN --mount=source=out,target=/x true", "RUN --mount=source=../outside,target=/x true"} {
			img, err := l.try(head + text)
			if err == nil && strings.Contains(l.tree(img), "hush") {
				l.Errorf("%s: %s", text, l.tree(img))
			}
		}
		l.files("root/etc", "->"+outside, "root/abs", "->/", "root/file", "->"+outside+"/new")
		img := l.build(head + "COPY root /\nCOPY a /etc/\nCOPY a /abs/x\nCOPY a /file\nCOPY --link a /etc/y\nWORKDIR /etc/w\nADD <<e /etc/z\nb\ne\n")
		if content, err := os.ReadDir(outside); err != nil || len(content) != 1 {
			l.Errorf("outside has %v", content)
		}
		inside := strings.TrimPrefix(outside, "/")
		for _, want := range []string{inside + "/a = A", inside + "/new = A", inside + "/y = A", inside + "/w/", inside + "/z = b\\n"} {
			if got := l.tree(img); !strings.Contains(got, want) {
				l.Errorf("%s\n%s", want, got)
			}
		}
	})
}

// TestSpecialFiles has what is not to be opened.
func TestSpecialFiles(t *testing.T) {
	inOneLab(t, func(l *lab) {
		must(l, unix.Mkfifo(filepath.Join(l.dir, "fifo"), 0o644))
		l.files("a", "A")
		done := make(chan error, 1)
		go func() {
			_, err := l.try("FROM scratch\nCOPY . /")
			done <- err
		}()
		select {
		case err := <-done:
			if err == nil || !strings.Contains(err.Error(), "device, a FIFO or a socket") {
				l.Error(err)
			}
		case <-time.After(10 * time.Second):
			l.Fatal("it waits for the FIFO")
		}
		for _, name := range []string{"Dockerfile", ".dockerignore"} {
			must(l, syscall.Mkfifo(filepath.Join(l.dir, name), 0o644))
			if err := l.fails("", func(s *Spec) { s.Text = "" }); !strings.Contains(err.Error(), "no regular file") {
				l.Error(err)
			}
			must(l, os.Remove(filepath.Join(l.dir, name)))
			l.files("Dockerfile", "FROM scratch")
		}
		l.files(".dockerignore", "fifo")
		l.has(l.build("FROM scratch\nCOPY a /"), "644 0:0 a = A")
		must(l, os.Remove(filepath.Join(l.dir, "a")))
		must(l, os.MkdirAll(filepath.Join(l.dir, strings.Repeat("d/", maxDepth+10)), 0o755))
		if err := l.fails("FROM scratch\nCOPY . /"); !strings.Contains(err.Error(), "directories in each other") {
			l.Error(err)
		}
	})
}

func TestAddArchive(t *testing.T) {
	inLab(t, func(l *lab) {
		when := time.Unix(1000, 0)
		plain := archive(l, &tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o700}, &tar.Header{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o750, Uid: 3},
			&tar.Header{Name: "d/f", Mode: 0o4755, Uid: 3, Gid: 4, ModTime: when}, &tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "d/f"},
			&tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "d/f"}, &tar.Header{Name: "fifo", Typeflag: tar.TypeFifo},
			&tar.Header{Name: "implied/f", Mode: 0o600})
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, err := w.Write(plain)
		must(l, err)
		must(l, w.Close())
		l.files("t.tar", string(plain), "t.tgz", packed.String(), "bad.tgz", packed.String()[:packed.Len()-20], "not.tar", "no archive")
		want := []string{"755 0:0 t/", "750 3:0 t/d/", "4755 3:4 t/d/f = d/f", "777 0:0 t/l -> d/f", "4755 3:4 t/h = d/f", "755 0:0 t/implied/",
			"600 0:0 t/implied/f = implied/f"}
		l.has(l.build(head+"ADD t.tar /t"), want...)
		l.has(l.build(head+"ADD t.tgz /t/"), want...)
		if !strings.Contains(l.text(EventWarning), "fifo is left out") {
			l.Errorf("%q", l.text(EventWarning))
		}
		l.has(l.build(head+"ADD not.tar /t/"), "755 0:0 t/", "644 0:0 t/not.tar = no archive")
		l.has(l.build(head+"ADD --unpack=false not.tar /t/"), "755 0:0 t/", "644 0:0 t/not.tar = no archive")
		got := l.tree(l.build(head + "ADD --chown=7 --chmod=640 t.tar /t/"))
		if !strings.Contains(got, "640 7:7 t/d/f = d/f") || !strings.Contains(got, "640 7:7 t/") {
			l.Error(got)
		}
		if err := l.fails(head + "ADD bad.tgz /t"); !strings.Contains(err.Error(), "extract bad.tgz") {
			l.Error(err)
		}
	})
}

// TestHostileArchives has archives that want to be somewhere else.
func TestHostileArchives(t *testing.T) {
	inOneLab(t, func(l *lab) {
		outside := filepath.Join(filepath.Dir(l.dir), "outside")
		must(l, os.Mkdir(outside, 0o755))
		link := &tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: outside}
		for name, headers := range map[string][]*tar.Header{
			"up":        {{Name: "../outside/x", Mode: 0o644}},
			"inside up": {{Name: "a/../../outside/x", Mode: 0o644}},
			"by link":   {link, {Name: "l/x", Mode: 0o644}},
			"hard link": {{Name: "h", Typeflag: tar.TypeLink, Linkname: outside + "/../context/f"}},
			"hard up":   {{Name: "h", Typeflag: tar.TypeLink, Linkname: "../context/f"}},
			"owner":     {{Name: "x", Uid: -5}},
			"no name":   {{Name: ".", Mode: 0o644}},
		} {
			l.files("f", string(archive(l, headers...)))
			for _, text := range []string{"FROM scratch\nADD f /t/", "FROM scratch\nCOPY . /"} {
				_, err := l.try(text, func(s *Spec) {
					if strings.Contains(text, "COPY") {
						s.Context = filepath.Join(l.dir, "f")
					}
				})
				if err == nil && name != "by link" && name != "owner" {
					l.Errorf("%s: %s was built", name, text)
				}
			}
			if content, err := os.ReadDir(outside); err != nil || len(content) != 0 {
				l.Fatalf("%s: outside has %v", name, content)
			}
		}
	})
}

func TestArchiveAsContext(t *testing.T) {
	inLab(t, func(l *lab) {
		content := archive(l, &tar.Header{Name: "Dockerfile", Mode: 0o644}, &tar.Header{Name: "d/a", Mode: 0o755, Uid: 7})
		path := filepath.Join(l.dir, "context.tar")
		must(l, os.WriteFile(path, content, 0o644))
		img := l.build("FROM scratch\nCOPY d /\n", func(s *Spec) { s.Context = path })
		l.has(img, "755 0:0 a = d/a")
		must(l, os.WriteFile(path, []byte("no archive at all"), 0o644))
		if err := l.fails("FROM scratch", func(s *Spec) { s.Context = path }); !strings.Contains(err.Error(), "read the context from context.tar") {
			l.Error(err)
		}
	})
}

func FuzzExtract(f *testing.F) {
	f.Add(archive(f, &tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../out"}, &tar.Header{Name: "l/x", Mode: 0o644},
		&tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "l/x"}, &tar.Header{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o7}))
	f.Fuzz(func(t *testing.T, content []byte) {
		top := t.TempDir()
		must(t, os.Mkdir(filepath.Join(top, "in"), 0o755))
		must(t, os.Mkdir(filepath.Join(top, "out"), 0o755))
		root, err := os.Open(filepath.Join(top, "in"))
		must(t, err)
		defer root.Close()
		defer func() { must(t, unpack.Remove(filepath.Join(top, "in"))) }()
		x := extractor{warn: func(string, ...any) {}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // a file of a terabyte is no failure
		defer cancel()
		_ = x.extract(ctx, bytes.NewReader(content), &target{root: root, single: true, owner: &handle.Owner{}})
		if left, err := os.ReadDir(filepath.Join(top, "out")); err != nil || len(left) != 0 {
			t.Errorf("%v %v", left, err)
		}
	})
}

// TestOutputInContext has the build's own output in its context, where it grows as soon as a step is told of.
func TestOutputInContext(t *testing.T) {
	inOneLab(t, func(l *lab) {
		l.files("a", "A", "log", "")
		log := filepath.Join(l.dir, "log")
		tell := func(e Event) {
			f, err := os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0)
			must(l, err)
			_, err = f.WriteString(e.Name + "\n")
			must(l, errors.Join(err, f.Close()))
		}
		spec := Spec{Context: l.dir, Text: head + "COPY . /x\nRUN --mount=target=/ctx true"}
		img, err := Run(context.Background(), l.store, spec, l.worker, tell)
		must(l, err)
		if got := l.tree(img); !strings.Contains(got, "x/log = ") {
			l.Errorf("the image has %s", got)
		}
	})
}

// TestContextGoesOnChanging says what to do about a file that is written to all the time.
func TestContextGoesOnChanging(t *testing.T) {
	inOneLab(t, func(l *lab) {
		l.files("a", "A")
		l.worker.mounting = func() { must(l, os.WriteFile(filepath.Join(l.dir, "a"), []byte(time.Now().String()), 0o644)) }
		_, err := l.try(head + "COPY a /x")
		if err == nil || !strings.Contains(err.Error(), "goes on changing") || !strings.Contains(err.Error(), "ignore file") {
			l.Errorf("building gives %v", err)
		}
	})
}
