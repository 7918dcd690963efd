package snapshot

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/nstest"
)

func export(t testing.TB, sn *Snapshot) []byte {
	t.Helper()
	var b bytes.Buffer
	check(t, sn.Export(context.Background(), &b))
	return b.Bytes()
}

// full is a snapshot with everything in it, on top of another one.
func full(t testing.TB, s *Store, more ...string) *Snapshot {
	t.Helper()
	parent := publish(t, s, nil, Meta{Name: "parent"})
	d, err := s.Draft(context.Background(), parent)
	check(t, err)
	plant(t, d.Layer(), append(append(everything, ofOverlay...), more...)...)
	images, err := d.Images()
	check(t, err)
	plant(t, images, "file core-1.img x")
	tree, err := d.Tree(3)
	check(t, err)
	plant(t, tree, "file shm x", "dir d", "socket d/s", "attr d user.overlay.opaque y")
	sn, err := d.Finish(Meta{Name: "full", Key: "k", CPU: "cpu", Trees: []Tree{{"/dev/shm", 3}}, Detail: json.RawMessage(`{"a": 1}`)})
	check(t, err, sn.Publish())
	return sn
}

func TestImportIsWhatWasExported(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		s, other := openStore(t), openStore(t)
		sn := full(t, s, owned(mode, t)...)
		b := export(t, sn)
		got, err := other.Import(context.Background(), iotest.HalfReader(bytes.NewReader(b)), ImportOptions{Name: "new", Check: func(m *Meta) error {
			m.Key += "2"
			return nil
		}})
		check(t, err, got.Verify(context.Background()))
		m := got.Meta()
		if m.Name != "new" || m.Key != "k2" || m.CPU != "cpu" || string(m.Detail) != `{"a": 1}` || m.ID == sn.id || len(got.Layers()) != 2 {
			t.Errorf("imported %+v, %q", m, got.Layers())
		}
		for i := range got.Layers() {
			expectSame(t, got.Layers()[i], sn.Layers()[i])
		}
		expectSame(t, got.Images(), sn.Images())
		expectSame(t, got.Tree(3), sn.Tree(3))
		expectOnly(t, other, 1, 2)
		if again := export(t, got); len(again) != len(b) {
			t.Errorf("%d bytes, exported again %d", len(b), len(again))
		}
	})
}

func TestImportOfADamagedArchive(t *testing.T) {
	s, other := openStore(t), openStore(t)
	d, err := s.Draft(context.Background(), nil)
	check(t, err)
	plant(t, d.Layer(), "dir a", "file a/b "+strings.Repeat("content", 300), "link c a/b", "symlink d e")
	sn, err := d.Finish(Meta{Detail: json.RawMessage(`{"a":1}`)})
	check(t, err, sn.Publish())
	b := export(t, sn)
	refused := func(what string, at int, stream []byte) {
		_, err := other.Import(context.Background(), bytes.NewReader(stream), ImportOptions{})
		if !errors.Is(err, rootfs.BadArchive) {
			t.Errorf("%s at %d of %d: %v", what, at, len(b), err)
		}
	}
	for at := 0; at < len(b)-1024-512+64; at += 64 { // up to the end of the digest
		refused("cut off", at, b[:at])
	}
	ignored := 0
	for at := 0; at < len(b); at += 37 {
		stream := bytes.Clone(b)
		stream[at] ^= 0x55
		if got, err := other.Import(context.Background(), bytes.NewReader(stream), ImportOptions{}); err == nil { // padding and the like
			ignored++
			expectSame(t, got.Layers()[0], sn.Layers()[0])
			check(t, other.Remove(got.id))
		} else if !errors.Is(err, rootfs.BadArchive) && !errors.Is(err, rootfs.UnmappedID) {
			t.Errorf("changed at %d: %v", at, err)
		}
	}
	t.Logf("%d of %d changes change nothing", ignored, len(b)/37)
	refused("doubled", 0, append(bytes.Clone(b[:len(b)-1024]), b...))
	expectEmpty(t, other)
	failing := io.MultiReader(bytes.NewReader(b[:2000]), iotest.ErrReader(os.ErrDeadlineExceeded))
	if _, err := other.Import(context.Background(), failing, ImportOptions{}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the source fails: %v", err)
	}
	refusal := errors.New("made with another id map")
	if _, err := other.Import(context.Background(), bytes.NewReader(b), ImportOptions{Check: func(*Meta) error { return refusal }}); !errors.Is(err, refusal) {
		t.Errorf("refused: %v", err)
	}
	expectEmpty(t, other)
}

// forged is an archive of entries with a right digest. It begins with a record for a layer, and a tree if there is one.
func forged(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	e := &exporter{ctx: context.Background(), tar: tar.NewWriter(&b), contents: newContents()}
	a := archived{Format: format, Layers: 1}
	for _, h := range entries {
		if strings.HasPrefix(h.Name, "trees/7/") {
			a.Meta.Trees = []Tree{{"/x", 7}}
		}
	}
	head, err := json.Marshal(a)
	check(t, err, e.text(recordName, head), e.text(detailName, []byte("{}")))
	for _, h := range entries {
		h.Format = tar.FormatPAX
		content := strings.NewReader(h.Uname)
		h.Size, h.Uname = int64(len(h.Uname)), ""
		h.Mode = 0o700
		if h.Uid == 0 {
			h.Uid, h.Gid = os.Getuid(), os.Getgid() // others need a namespace
		}
		h.ModTime = time.Unix(1, 0)
		check(t, e.entry(&h, content))
	}
	check(t, e.text(digestName, []byte(e.contents.String())), e.tar.Close())
	return b.Bytes()
}

func attrs(name, value string) map[string]string {
	return map[string]string{paxAttribute + name: value}
}

// hostile are entries behind those of the layer's top and a directory "layers/0/d/"; the content is in Uname.
var hostile = map[string][]tar.Header{
	"name that climbs":            {{Typeflag: tar.TypeReg, Name: "layers/0/../../../x", Uname: "x"}},
	"name with dots":              {{Typeflag: tar.TypeReg, Name: "layers/0/d/./x"}},
	"absolute name":               {{Typeflag: tar.TypeReg, Name: "/layers/0/x"}},
	"empty part":                  {{Typeflag: tar.TypeReg, Name: "layers/0/d//x"}},
	"elsewhere":                   {{Typeflag: tar.TypeReg, Name: "by-id/x"}},
	"above the layer":             {{Typeflag: tar.TypeReg, Name: "layers"}},
	"in place of the layer":       {{Typeflag: tar.TypeSymlink, Name: "layers/0", Linkname: "/etc"}},
	"layer twice":                 {{Typeflag: tar.TypeDir, Name: "layers/0/"}},
	"layer too many":              {{Typeflag: tar.TypeDir, Name: "layers/1/"}},
	"images not announced":        {{Typeflag: tar.TypeDir, Name: "images/"}},
	"tree not announced":          {{Typeflag: tar.TypeDir, Name: "trees/8/"}},
	"tree without top":            {{Typeflag: tar.TypeReg, Name: "trees/7/x"}},
	"through a symlink":           {{Typeflag: tar.TypeSymlink, Name: "layers/0/d/s", Linkname: "../../.."}, {Typeflag: tar.TypeReg, Name: "layers/0/d/s/x"}},
	"through a file":              {{Typeflag: tar.TypeReg, Name: "layers/0/d/f"}, {Typeflag: tar.TypeReg, Name: "layers/0/d/f/x"}},
	"directory in its place":      {{Typeflag: tar.TypeSymlink, Name: "layers/0/d/s", Linkname: "/etc"}, {Typeflag: tar.TypeDir, Name: "layers/0/d/s/"}},
	"twice":                       {{Typeflag: tar.TypeReg, Name: "layers/0/d/f"}, {Typeflag: tar.TypeReg, Name: "layers/0/d/f"}},
	"directory twice":             {{Typeflag: tar.TypeDir, Name: "layers/0/d/"}},
	"back to a complete one":      {{Typeflag: tar.TypeDir, Name: "layers/0/e/"}, {Typeflag: tar.TypeReg, Name: "layers/0/d/x"}},
	"implied directory":           {{Typeflag: tar.TypeReg, Name: "layers/0/d/x/y"}},
	"link out of the tree":        {{Typeflag: tar.TypeLink, Name: "layers/0/d/l", Linkname: "layers/0/../../x"}},
	"link to the host":            {{Typeflag: tar.TypeLink, Name: "layers/0/d/l", Linkname: "/etc/passwd"}},
	"link to another tree":        {{Typeflag: tar.TypeLink, Name: "layers/0/d/l", Linkname: "trees/7/x"}},
	"link through a symlink":      {{Typeflag: tar.TypeSymlink, Name: "layers/0/d/s", Linkname: "/etc"}, {Typeflag: tar.TypeLink, Name: "layers/0/d/l", Linkname: "layers/0/d/s/passwd"}},
	"link to a directory":         {{Typeflag: tar.TypeLink, Name: "layers/0/d/l", Linkname: "layers/0/d"}},
	"link to nothing":             {{Typeflag: tar.TypeLink, Name: "layers/0/d/l", Linkname: "layers/0/d/gone"}},
	"device":                      {{Typeflag: tar.TypeChar, Name: "layers/0/d/null", Devmajor: 1, Devminor: 3}},
	"block device":                {{Typeflag: tar.TypeBlock, Name: "layers/0/d/sda"}},
	"type":                        {{Typeflag: tar.TypeCont, Name: "layers/0/d/x"}},
	"trusted attribute":           {{Typeflag: tar.TypeReg, Name: "layers/0/d/x", PAXRecords: attrs("trusted.overlay.redirect", "/")}},
	"overlay's attribute":         {{Typeflag: tar.TypeReg, Name: "layers/0/d/x", PAXRecords: attrs("user.overlay.metacopy", "")}},
	"attribute of a symlink":      {{Typeflag: tar.TypeSymlink, Name: "layers/0/d/x", Linkname: "y", PAXRecords: attrs("user.x", "")}},
	"huge attribute":              {{Typeflag: tar.TypeReg, Name: "layers/0/d/x", PAXRecords: attrs("user.x", strings.Repeat("x", 100<<10))}},
	"socket that is a directory":  {{Typeflag: tar.TypeDir, Name: "layers/0/d/x/", PAXRecords: map[string]string{paxSocket: "y"}}},
	"record of nobody":            {{Typeflag: tar.TypeReg, Name: "layers/0/d/x", PAXRecords: map[string]string{"VENDOR.x": "y"}}},
	"long name":                   {{Typeflag: tar.TypeReg, Name: "layers/0/d/" + strings.Repeat("x", 300)}},
	"very long name":              {{Typeflag: tar.TypeReg, Name: "layers/0/d/" + strings.Repeat("x/", 30000) + "x"}},
	"owner that is none":          {{Typeflag: tar.TypeReg, Name: "layers/0/d/x", Uid: 1<<32 - 1}},
	"long target":                 {{Typeflag: tar.TypeSymlink, Name: "layers/0/d/x", Linkname: strings.Repeat("x", 5000)}},
	"empty target":                {{Typeflag: tar.TypeSymlink, Name: "layers/0/d/x"}},
	"digest in the middle":        {{Typeflag: tar.TypeReg, Name: digestName, Uname: strings.Repeat("0", 64)}},
	"announced and does not come": {{Typeflag: tar.TypeDir, Name: "trees/7/"}, {Typeflag: tar.TypeDir, Name: "trees/7/x/"}, {Typeflag: tar.TypeDir, Name: "layers/0/y/"}},
}

func before() []tar.Header {
	return []tar.Header{{Typeflag: tar.TypeDir, Name: "layers/0/"}, {Typeflag: tar.TypeDir, Name: "layers/0/d/"}}
}

func TestImportOfAHostileArchive(t *testing.T) {
	for name, entries := range hostile {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			plant(t, top, "file x alive", "file canary alive")
			was := inventory(t, top)
			s, err := Open(filepath.Join(top, "home", "store"))
			check(t, err)
			open := descriptors(t)
			_, err = s.Import(context.Background(), bytes.NewReader(forged(t, append(before(), entries...)...)), ImportOptions{})
			if !errors.Is(err, rootfs.BadArchive) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 1000 {
				t.Errorf("got %v", err)
			}
			if now := descriptors(t); now != open {
				t.Errorf("%d descriptors open before, %d after", open, now)
			}
			expectEmpty(t, s)
			check(t, os.RemoveAll(filepath.Join(top, "home")))
			if now := strings.Split(inventory(t, top), "\n"); strings.Join(now[1:], "\n") != strings.Join(strings.Split(was, "\n")[1:], "\n") {
				t.Errorf("outside changed: %q, was %q", now, was)
			}
		})
	}
	s := openStore(t)
	sn, err := s.Import(context.Background(), bytes.NewReader(forged(t, before()...)), ImportOptions{})
	check(t, err)
	check(t, sn.Verify(context.Background())) // what is forged is good but for what is hostile
}

func TestImportToAFullDisk(t *testing.T) {
	nstest.Run(t, func(t *testing.T, _ nstest.Mode) {
		s := openStore(t)
		d, err := s.Draft(context.Background(), nil)
		check(t, err)
		check(t, os.WriteFile(filepath.Join(d.Layer(), "f"), bytes.Repeat([]byte("x"), 2<<20), 0o600))
		sn, err := d.Finish(Meta{})
		check(t, err, sn.Publish())
		small, err := Open(filepath.Join(onTmpfs(t, "size=1m"), "store"))
		check(t, err)
		if _, err := small.Import(context.Background(), bytes.NewReader(export(t, sn)), ImportOptions{}); !errors.Is(err, rootfs.NoSpace) {
			t.Errorf("got %v", err)
		}
		expectEmpty(t, small)
	}, nstest.Single)
}

func TestExportOfADamagedSnapshot(t *testing.T) {
	s := openStore(t)
	sn := publish(t, s, nil, Meta{})
	check(t, os.WriteFile(filepath.Join(sn.Layers()[0], "d", "changed"), nil, 0o600))
	if err := sn.Export(context.Background(), io.Discard); !errors.Is(err, Stale) {
		t.Errorf("got %v", err)
	}
	check(t, s.Remove(sn.id))
	if err := sn.Export(context.Background(), io.Discard); !errors.Is(err, rootfs.NotFound) {
		t.Errorf("got %v", err)
	}
}

func TestHolesComeBack(t *testing.T) {
	s := openStore(t)
	d, err := s.Draft(context.Background(), nil)
	check(t, err)
	f, err := os.Create(filepath.Join(d.Layer(), "f"))
	check(t, err, f.Truncate(64<<20), f.Close())
	sn, err := d.Finish(Meta{})
	check(t, err, sn.Publish())
	got, err := s.Import(context.Background(), bytes.NewReader(export(t, sn)), ImportOptions{})
	check(t, err)
	var st unix.Stat_t
	check(t, unix.Stat(filepath.Join(got.Layers()[0], "f"), &st))
	if st.Size != 64<<20 || st.Blocks > 100 {
		t.Errorf("%d bytes in %d blocks", st.Size, st.Blocks)
	}
}

// FuzzImport looks for archives that change something outside of the store, leave descriptors or anything in the store
// open, or panic.
func FuzzImport(f *testing.F) {
	for _, entries := range hostile {
		f.Add(forged(f, append(before(), entries...)...))
	}
	f.Add(forged(f, append(before(), tar.Header{Typeflag: tar.TypeReg, Name: "layers/0/d/f", Uname: "content", PAXRecords: attrs("user.x", "y")},
		tar.Header{Typeflag: tar.TypeLink, Name: "layers/0/d/g", Linkname: "layers/0/d/f"}, tar.Header{Typeflag: tar.TypeFifo, Name: "layers/0/d/h"},
		tar.Header{Typeflag: tar.TypeDir, Name: "trees/7/"})...))
	f.Fuzz(func(t *testing.T, stream []byte) {
		top := t.TempDir()
		plant(t, top, "file canary alive")
		s, err := Open(filepath.Join(top, "home", "store"))
		check(t, err)
		open := descriptors(t)
		sn, err := s.Import(context.Background(), bytes.NewReader(resealed(stream)), ImportOptions{})
		if err == nil {
			check(t, sn.Verify(context.Background()), s.Remove(sn.id))
		}
		if now := descriptors(t); now != open {
			t.Errorf("%d descriptors open before, %d after: %v", open, now, err)
		}
		expectEmpty(t, s)
		got, err := os.ReadDir(top)
		check(t, err)
		if content, err := os.ReadFile(filepath.Join(top, "canary")); string(content) != "alive" || err != nil || len(got) > 2 {
			t.Errorf("outside of the store: %q, %v, %v", content, err, got)
		}
	})
}

// resealed gives a stream whose entries can be read the digest that it should have, so that it is believed.
func resealed(stream []byte) []byte {
	var b bytes.Buffer
	in, e := tar.NewReader(bytes.NewReader(stream)), &exporter{tar: tar.NewWriter(&b), contents: newContents()}
	for {
		h, err := in.Next()
		if err != nil || h.Size > 1<<20 {
			return stream
		}
		if h.Name == digestName {
			break
		}
		h.Format = tar.FormatPAX
		if err := e.entry(h, in); err != nil {
			return stream
		}
	}
	if e.text(digestName, []byte(e.contents.String())) != nil || e.tar.Close() != nil {
		return stream
	}
	return b.Bytes()
}
