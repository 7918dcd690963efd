package build

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/nstest"
)

// steps counts the steps of the last build that were done, and those that were not.
func (l *lab) steps() (done, cached int) { return len(l.worker.ran), l.count(EventCached) }

func TestWhatChangesKeys(t *testing.T) {
	text := "FROM scratch\nCOPY d /t\nRUN write /x y"
	for _, c := range []struct {
		name   string
		change func(l *lab) (string, []func(*Spec))
		same   bool
	}{
		{"nothing", func(*lab) (string, []func(*Spec)) { return text, nil }, true},
		{"a comment", func(*lab) (string, []func(*Spec)) { return "# hi\n" + text, nil }, true},
		{"metadata behind", func(*lab) (string, []func(*Spec)) { return text + "\nLABEL a=b\nCMD x", nil }, true},
		{"a time", func(l *lab) (string, []func(*Spec)) {
			must(l, os.Chtimes(filepath.Join(l.dir, "d/c"), time.Now(), time.Now()))
			return text, nil
		}, true},
		{"another file", func(l *lab) (string, []func(*Spec)) { l.files("other", "x"); return text, nil }, true},
		{"an argument that is not used", func(*lab) (string, []func(*Spec)) { return text, []func(*Spec){args("A", "1")} }, true},
		{"a proxy", func(*lab) (string, []func(*Spec)) { return text, []func(*Spec){args("HTTP_PROXY", "1")} }, true},
		{"a secret's value", func(*lab) (string, []func(*Spec)) {
			return text, []func(*Spec){func(s *Spec) { s.Secrets = map[string][]byte{"a": []byte("b")} }}
		}, true},
		{"content", func(l *lab) (string, []func(*Spec)) { l.files("d/c", "new"); return text, nil }, false},
		{"a name", func(l *lab) (string, []func(*Spec)) {
			must(l, os.Rename(filepath.Join(l.dir, "d/c"), filepath.Join(l.dir, "d/cc")))
			return text, nil
		}, false},
		{"a mode", func(l *lab) (string, []func(*Spec)) {
			must(l, os.Chmod(filepath.Join(l.dir, "d/c"), 0o600))
			return text, nil
		}, false},
		{"a link's target", func(l *lab) (string, []func(*Spec)) {
			must(l, os.Remove(filepath.Join(l.dir, "d/link")))
			l.files("d/link", "->sub")
			return text, nil
		}, false},
		{"the ignore file", func(l *lab) (string, []func(*Spec)) { l.files(".dockerignore", "d/c"); return text, nil }, false},
		{"the destination", func(*lab) (string, []func(*Spec)) { return strings.Replace(text, "/t", "/u", 1), nil }, false},
		{"an owner", func(*lab) (string, []func(*Spec)) { return strings.Replace(text, "d ", "--chown=1 d ", 1), nil }, false},
		{"an epoch", func(*lab) (string, []func(*Spec)) { return text, []func(*Spec){args("SOURCE_DATE_EPOCH", "1")} }, false},
		{"the platform", func(*lab) (string, []func(*Spec)) {
			return text, []func(*Spec){func(s *Spec) { s.Platform = "linux/s390x" }}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inOneLab(t, func(l *lab) {
				contextFiles(l)
				first := l.build(text)
				again, change := c.change(l)
				second := l.build(again, change...)
				if _, cached := l.steps(); cached != 2 && c.same || cached != 0 && !c.same {
					l.Errorf("%d steps were taken from the cache", cached)
				}
				if same := first.ID == second.ID; same && !c.same {
					l.Errorf("the image is the same")
				}
			})
		})
	}
}

func TestWhatChangesKeysOfRun(t *testing.T) {
	inOneLab(t, func(l *lab) {
		contextFiles(l)
		same := func(s *Spec) {}
		for _, c := range []struct {
			one, two string
			change   func(*Spec)
			same     bool
		}{
			{"RUN true", "RUN true ", same, true},
			{"RUN true", "RUN  true", same, true},
			{"LABEL a=b\nRUN true", "RUN true", same, true},
			{"ENTRYPOINT x\nEXPOSE 1\nRUN true", "RUN true", same, true},
			{"RUN true", "ENV A=1\nRUN true", same, false},
			{"RUN true", "ARG A=1\nRUN true", same, false},
			{"RUN true", "ARG A\nRUN true", same, true},
			{"RUN true", "USER 1\nRUN true", same, false},
			{"RUN true", "RUN [\"true\"]", same, false},
			{"RUN true", "SHELL [\"x\"]\nRUN true", same, false},
			{"RUN true", "RUN --network=none true", same, false},
			{"RUN true", "RUN --network=host true", same, true},
			{"RUN true", "RUN true", func(s *Spec) { s.Network = "none" }, false},
			{"RUN true", "RUN true", func(s *Spec) { s.RunKey = "hosts" }, false},
			{"RUN true", "RUN --mount=type=tmpfs,target=/x true", same, false},
			{"RUN --mount=type=cache,target=/x true", "RUN --mount=type=cache,target=/x,id=y true", same, false},
			{"RUN --mount=type=cache,target=/x true", "RUN --mount=type=cache,target=/x,uid=1 true", same, false},
			{"RUN --mount=type=secret,id=s true", "RUN --mount=type=secret,id=s true", func(s *Spec) {
				s.Secrets = map[string][]byte{"s": []byte("v")}
			}, true},
			{"RUN --mount=source=d,target=/x true", "RUN --mount=source=d/sub,target=/x true", same, false},
		} {
			l.build("FROM scratch\n" + c.one)
			l.build("FROM scratch\n"+c.two, c.change)
			if done, _ := l.steps(); (done == 0) != c.same {
				l.Errorf("%s -> %s: %d", c.one, c.two, done)
			}
			must(l, os.RemoveAll(buildPath(l.store, "cache")))
		}
		l.build("FROM scratch\nRUN --mount=source=d,target=/x true")
		l.files("d/c", "changed")
		l.build("FROM scratch\nRUN --mount=source=d,target=/x true")
		if done, _ := l.steps(); done != 1 {
			l.Error("a changed bind changed nothing")
		}
	})
}

func TestNoCache(t *testing.T) {
	inOneLab(t, func(l *lab) {
		text := "FROM scratch AS one\nRUN write /a a\nFROM one AS two\nRUN write /b b"
		l.build(text)
		for _, c := range []struct {
			change func(*Spec)
			done   int
		}{
			{func(*Spec) {}, 0},
			{func(s *Spec) { s.NoCacheStages = []string{"two"} }, 1},
			{func(s *Spec) { s.NoCacheStages = []string{"ONE", "1"} }, 2},
			{func(s *Spec) { s.NoCache = true }, 2},
		} {
			l.build(text, c.change)
			if done, _ := l.steps(); done != c.done {
				l.Errorf("%d, want %d", done, c.done)
			}
		}
		if err := l.fails(text, func(s *Spec) { s.NoCacheStages = []string{"x"} }); !strings.Contains(err.Error(), `stage "x"`) {
			l.Error(err)
		}
	})
}

// TestCacheOfLayers looks at what depends on files of other stages: what they are, not how they came to be.
func TestCacheOfLayers(t *testing.T) {
	inOneLab(t, func(l *lab) {
		l.build("FROM scratch AS one\nRUN write /a a\nFROM scratch\nCOPY --from=one /a /b\nRUN true")
		l.build("FROM scratch AS one\nRUN write /other x\nRUN write /a a\nFROM scratch\nCOPY --from=one /a /b\nRUN true")
		if done, cached := l.steps(); done != 2 || cached != 2 {
			l.Errorf("%d done, %d cached", done, cached)
		}
		l.build("FROM scratch\nRUN write /x 1\nCOPY --link <<a /b/\na\n")
		l.build("FROM scratch\nRUN write /x 2\nCOPY --link <<a /b/\na\n")
		if _, cached := l.steps(); cached != 1 {
			l.Error("COPY --link was done again")
		}
	})
}

func TestStaleCache(t *testing.T) {
	inOneLab(t, func(l *lab) {
		text := "FROM scratch\nRUN write /x 1"
		first := l.build(text)
		entries, err := Entries(l.store)
		must(l, err)
		if len(entries) != 1 || entries[0].Text != "[1/1] RUN write /x 1" || entries[0].DiffID != first.Config.RootFS.DiffIDs[0] || entries[0].Used.IsZero() {
			l.Fatalf("%+v", entries)
		}
		must(l, os.RemoveAll(filepath.Dir(first.Layers[0])))
		l.build(text)
		if done, _ := l.steps(); done != 1 {
			l.Error("a layer that is gone was used")
		}
		must(l, os.WriteFile(entryPath(l.store, entries[0].Key), []byte("{"), 0o600))
		l.build(text)
		if done, _ := l.steps(); done != 1 {
			l.Error("a damaged entry was used")
		}
		must(l, RemoveEntry(l.store, entries[0].Key))
		must(l, RemoveEntry(l.store, entries[0].Key))
		if err := RemoveEntry(l.store, "../../index"); err == nil {
			l.Error("that was a key")
		}
		must(l, PruneHashes(l.store))
	})
}

// TestHashes looks at what is remembered of a context.
func TestHashes(t *testing.T) {
	inOneLab(t, func(l *lab) {
		l.files("a", "A")
		l.build("FROM scratch\nCOPY a /")
		path := filepath.Join(l.dir, "a")
		found, err := filepath.Glob(buildPath(l.store, "hashes", "context-*"))
		must(l, err)
		if len(found) != 1 {
			l.Fatal(found)
		}
		h := openHashes(found[0])
		if len(h.sums) != 0 {
			l.Error("a file that was just made is remembered")
		}
		info, err := os.Stat(path)
		must(l, err)
		f, err := openFolder("x", l.dir)
		must(l, err)
		defer f.Close()
		file, err := f.lookup("a")
		must(l, err)
		defer file.Close()
		h.sums[identityOf(&file.stat)], h.more = sum{1}, true
		h.save()
		if again := openHashes(found[0]); len(again.sums) != 1 || again.sums[identityOf(&file.stat)] != (sum{1}) {
			l.Errorf("%v", again.sums)
		}
		l.build("FROM scratch\nCOPY a /") // with a digest that is wrong, so that it shows that it is used
		if _, cached := l.steps(); cached != 0 {
			l.Error("the remembered digest was not used")
		}
		must(l, os.Chtimes(path, info.ModTime(), info.ModTime().Add(time.Second)))
		l.build("FROM scratch\nCOPY a /")
		if _, cached := l.steps(); cached != 1 {
			l.Error("the digest of a changed file was used")
		}
	})
}

// TestSameStepAtOnce has two builds, which do one step once.
func TestSameStepAtOnce(t *testing.T) {
	inOneLab(t, func(l *lab) {
		text := "FROM scratch\nRUN write /x 1\nRUN write /y 2"
		l.worker.during = func(*RunStep) { time.Sleep(50 * time.Millisecond) }
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				if _, err := Run(context.Background(), l.store, Spec{Text: text}, l.worker, nil); err != nil {
					l.Error(err)
				}
			})
		}
		group.Wait()
		if n := len(l.worker.ran); n != 2 {
			l.Errorf("%d programs ran", n)
		}
	})
}

func TestStagesAtOnce(t *testing.T) {
	inOneLab(t, func(l *lab) {
		var mu sync.Mutex
		now, most := 0, 0
		l.worker.during = func(*RunStep) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) { // those that may
				mu.Lock()
				enough := most >= Parallel
				mu.Unlock()
				if enough {
					break
				}
			}
			time.Sleep(100 * time.Millisecond) // those that may not
			mu.Lock()
			now--
			mu.Unlock()
		}
		text := "FROM scratch AS a\nRUN write /a 1\nFROM scratch AS b\nRUN write /b 1\nFROM scratch AS c\nRUN write /c 1\nFROM scratch\n" +
			"COPY --from=a / /\nCOPY --from=b / /\nCOPY --from=c / /\n"
		l.build(text)
		if most != Parallel {
			l.Errorf("%d at once", most)
		}
		for _, e := range l.events {
			if e.Kind == EventStart && e.Step != map[string]int{"[a 1/1] RUN write /a 1": 2, "[b 1/1] RUN write /b 1": 3, "[c 1/1] RUN write /c 1": 4,
				"[stage-3 1/3] COPY --from=a / /": 5, "[stage-3 2/3] COPY --from=b / /": 6, "[stage-3 3/3] COPY --from=c / /": 7,
				"[internal] load build definition": 1, "exporting to image": 8}[e.Name] {
				l.Errorf("%+v", e)
			}
		}
		l.worker.during = nil
		if err := l.fails(strings.Replace(text, "write /b 1", "fail 7", 1)); !strings.Contains(err.Error(), "Dockerfile:4: process") {
			l.Error(err)
		}
	})
}

func TestCancel(t *testing.T) {
	inOneLab(t, func(l *lab) {
		ctx, cancel := context.WithCancel(context.Background())
		l.worker.during = func(*RunStep) { cancel() }
		_, err := Run(ctx, l.store, Spec{Text: "FROM scratch\nRUN true\nRUN true"}, l.worker, nil)
		if err == nil || len(l.worker.ran) != 1 || l.worker.open != 0 {
			l.Errorf("%v %v %d", err, l.worker.ran, l.worker.open)
		}
		left, err := os.ReadDir(buildPath(l.store, "tmp"))
		must(l, err)
		if len(left) != 0 {
			l.Error(left)
		}
	})
}

// TestKilled kills a build while a program runs: the next one finds nothing half done, and leaves nothing.
func TestKilled(t *testing.T) {
	const kill = "BUILD_TEST_KILL"
	if dir := os.Getenv(kill); dir != "" {
		l := &lab{TB: t, dir: dir}
		l.openStore(filepath.Join(dir, "store"), nstest.Single)
		l.worker = &fakeWorker{lab: l, mounts: dir}
		l.worker.during = func(s *RunStep) {
			if strings.Contains(s.Args[2], "/y") {
				p, _ := os.FindProcess(os.Getpid())
				_ = p.Kill()
				select {}
			}
		}
		_, _ = Run(context.Background(), l.store, Spec{Text: killedFile}, l.worker, nil)
		return
	}
	inOneLab(t, func(l *lab) {
		dir := filepath.Dir(l.dir)
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), kill+"="+dir)
		if out, err := cmd.CombinedOutput(); err == nil {
			l.Fatalf("it was not killed: %s", out)
		}
		left, err := os.ReadDir(buildPath(l.store, "tmp"))
		must(l, err)
		if len(left) != 2 {
			l.Errorf("left: %v", left)
		}
		l.build(killedFile)
		if done, cached := l.steps(); done != 1 || cached != 1 {
			l.Errorf("%d done, %d cached", done, cached)
		}
		if left, err = os.ReadDir(buildPath(l.store, "tmp")); err != nil || len(left) != 0 {
			l.Errorf("left: %v %v", left, err)
		}
	})
}

const killedFile = "FROM scratch\nRUN write /x 1\nRUN write /y 2"

// registryWorker keeps what is pushed to it by name.
type registryWorker struct {
	*fakeWorker
	pushed map[string]*rootfs.Image
}

func (w *registryWorker) Push(_ context.Context, img *rootfs.Image, ref string, _ func(rootfs.Event)) error {
	w.pushed[ref] = img
	return nil
}

func (w *registryWorker) Pull(ctx context.Context, ref, platform string, events func(rootfs.Event)) (*rootfs.Image, error) {
	if img := w.pushed[ref]; img != nil {
		return img, nil
	}
	return w.fakeWorker.Pull(ctx, ref, platform, events)
}

func TestCacheInRegistry(t *testing.T) {
	inOneLab(t, func(l *lab) {
		l.files("a", "A")
		w := &registryWorker{l.worker, map[string]*rootfs.Image{}}
		spec := Spec{Context: l.dir, Text: "FROM scratch AS one\nRUN write /x 1\nFROM scratch\nCOPY --from=one /x /\nCOPY a /\nRUN true", CacheTo: []string{"r/c"}}
		_, err := Run(context.Background(), l.store, spec, w, nil)
		must(l, err)
		if w.pushed["r/c"] == nil {
			l.Fatal("nothing was pushed")
		}
		must(l, os.RemoveAll(buildPath(l.store)))
		l.worker.ran = nil
		spec.CacheFrom, spec.CacheTo = []string{"r/c", "missing/c"}, nil
		var warned []string
		_, err = Run(context.Background(), l.store, spec, w, func(e Event) {
			if e.Kind == EventWarning {
				warned = append(warned, string(e.Text))
			}
		})
		must(l, err)
		if len(l.worker.ran) != 0 || len(warned) != 1 || !strings.Contains(warned[0], "missing/c") {
			l.Errorf("%v %q", l.worker.ran, warned)
		}
		w.pushed["r/c"], err = Run(context.Background(), l.store, Spec{Text: "FROM scratch\nLABEL a=b"}, w, nil)
		must(l, err)
		warned = nil
		_, err = Run(context.Background(), l.store, spec, w, func(e Event) {
			if e.Kind == EventWarning {
				warned = append(warned, string(e.Text))
			}
		})
		must(l, err)
		if len(warned) != 2 || !strings.Contains(warned[0], "is no cache of builds") {
			l.Errorf("%q", warned)
		}
	})
}
