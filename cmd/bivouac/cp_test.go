package main

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

func TestCopyArguments(t *testing.T) {
	for arg, want := range map[string][2]string{
		"web:/etc": {"web", "/etc"}, "web:etc": {"web", "etc"}, "/a:b": {"", "/a:b"}, "./a:b": {"", "./a:b"}, "a": {"", "a"}, "-": {"", "-"},
		"../x:y": {"", "../x:y"}, "web:a:b": {"web", "a:b"}, ":x": {"", "x"},
	} {
		if container, file := splitCopyArg(arg); [2]string{container, file} != want {
			t.Errorf("%s: %q %q", arg, container, file)
		}
	}
}

// tarEntry is a line of a tar stream.
type tarEntry struct {
	kind       byte
	name, text string // the content, or what a link leads to
	mode       int64
}

func tarStream(t *testing.T, entries ...tarEntry) io.Reader {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		h := &tar.Header{Typeflag: e.kind, Name: e.name, Mode: e.mode, ModTime: time.Unix(1e9, 0), Format: tar.FormatGNU}
		if e.kind == tar.TypeReg {
			h.Size = int64(len(e.text))
		} else {
			h.Linkname, e.text = e.text, ""
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &out
}

func tarDir(name string) tarEntry        { return tarEntry{tar.TypeDir, name, "", 0o755} }
func tarFile(name, text string) tarEntry { return tarEntry{tar.TypeReg, name, text, 0o644} }
func tarLink(name, to string) tarEntry   { return tarEntry{tar.TypeSymlink, name, to, 0o777} }
func tarHard(name, to string) tarEntry   { return tarEntry{tar.TypeLink, name, to, 0o644} }

// treeOf lists what is below a directory, with the content of files.
func treeOf(t *testing.T, top string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == top {
			return err
		}
		line, _ := filepath.Rel(top, path)
		switch {
		case e.IsDir():
			line += "/"
		case e.Type()&fs.ModeSymlink != 0:
			to, _ := os.Readlink(path)
			line += "->" + to
		case e.Type().IsRegular():
			text, _ := os.ReadFile(path)
			line += "=" + string(text)
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return strings.Join(lines, " ")
}

// TestCopyOutPlaces has Docker's rules of where a copy goes. The target has d/old and the file f.
func TestCopyOutPlaces(t *testing.T) {
	tree := []tarEntry{tarDir("src"), tarFile("src/a", "1"), tarLink("src/l", "a"), tarHard("src/h", "src/a")}
	one := []tarEntry{tarFile("one", "1")}
	for _, test := range []struct {
		entries         []tarEntry
		name, target    string
		content, mustBe bool
		want            string // what there is besides d/ d/old= f=was, or an error
	}{
		{tree, "src", "d", false, false, "d/src/ d/src/a=1 d/src/h=1 d/src/l->a"},
		{tree, "src", "d/", true, true, "d/a=1 d/h=1 d/l->a"},
		{tree, "src", "new", false, false, "new/ new/a=1 new/h=1 new/l->a"},
		{tree, "src", "new/", true, true, "new/ new/a=1 new/h=1 new/l->a"},
		{tree, "src", "f", false, false, "error: a directory cannot replace a file"},
		{tree, "src", "no/new", false, false, "error: no such file"},
		{one, "one", "d", false, false, "d/one=1"},
		{one, "one", "d/", false, false, "d/one=1"},
		{one, "one", "new", false, false, "new=1"},
		{one, "one", "new/", false, false, "error: there is no such directory"},
		{one, "one", "f/", false, false, "error: "},
		{one, "one", "f", false, false, "f=1"},
		{one, "one", "d/old", false, false, "d/old=1"},
		{one, "one", "d", true, true, "error: it is no directory"},
	} {
		top := t.TempDir()
		t.Chdir(top)
		if err := firstError(os.Mkdir("d", 0o755), os.WriteFile("d/old", nil, 0o644), os.WriteFile("f", []byte("was"), 0o644)); err != nil {
			t.Fatal(err)
		}
		x := &extraction{name: test.name, content: test.content, mustBeDir: test.mustBe}
		err := x.extract(tarStream(t, test.entries...), test.target)
		if why, failing := strings.CutPrefix(test.want, "error: "); failing {
			if err == nil || !strings.Contains(err.Error(), why) || treeOf(t, top) != "d/ d/old= f=was" {
				t.Errorf("%s to %s: %v, %s", test.name, test.target, err, treeOf(t, top))
			}
			continue
		}
		want := strings.Fields(test.want)
		for _, was := range []string{"d/", "d/old=", "f=was"} {
			if !slices.ContainsFunc(want, func(w string) bool { return strings.Split(w, "=")[0] == strings.Split(was, "=")[0] }) {
				want = append(want, was)
			}
		}
		slices.Sort(want)
		if got := treeOf(t, top); err != nil || got != strings.Join(want, " ") {
			t.Errorf("%s to %s: %v\ngot  %s\nwant %s", test.name, test.target, err, got, strings.Join(want, " "))
		}
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestCopyOutStaysInside has streams that a container's program would like to be.
func TestCopyOutStaysInside(t *testing.T) {
	for name, entries := range map[string][]tarEntry{
		"up":              {tarDir("src"), tarFile("src/../../victim", "x")},
		"other":           {tarDir("src"), tarFile("victim", "x")},
		"absolute":        {tarDir("src"), tarFile("/victim", "x")},
		"through a link":  {tarDir("src"), tarLink("src/l", ".."), tarFile("src/l/victim", "x")},
		"to a directory":  {tarDir("src"), tarLink("src/l", "../own"), tarFile("src/l/victim", "x")},
		"link and dir":    {tarDir("src"), tarLink("src/l", "../own"), tarDir("src/l"), tarFile("src/l/victim", "x")},
		"hard link":       {tarDir("src"), tarHard("src/h", "../victim"), tarFile("src/h", "x")},
		"hard over link":  {tarDir("src"), tarLink("src/l", "../../victim"), tarHard("src/l/h", "src/l")},
		"device":          {{tar.TypeChar, "src", "", 0o666}},
		"device as link":  {tarDir("src"), {tar.TypeChar, "src/null", "", 0o666}, tarHard("src/h", "src/null"), tarFile("src/h", "x")},
		"similar name":    {tarDir("src"), tarFile("srcx/victim", "x")},
		"dot dot as name": {tarDir("src"), tarDir("src/..")},
	} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			to := filepath.Join(top, "to")
			if err := firstError(os.Mkdir(to, 0o755), os.Mkdir(filepath.Join(to, "own"), 0o755), os.WriteFile(filepath.Join(top, "victim"), []byte("mine"), 0o600)); err != nil {
				t.Fatal(err)
			}
			x := &extraction{name: "src"}
			err := x.extract(tarStream(t, entries...), to)
			if err == nil {
				t.Error("was taken")
			}
			if got := treeOf(t, top); strings.Contains(got, "=x") || !strings.Contains(got, " victim=mine") {
				t.Errorf("%v; %s", err, got)
			}
		})
	}
}

func TestCopyOutLeavesDevicesOut(t *testing.T) {
	to := t.TempDir()
	x := &extraction{name: "src"}
	err := x.extract(tarStream(t, tarDir("src"), tarEntry{tar.TypeChar, "src/null", "", 0o666}, tarEntry{tar.TypeBlock, "src/sda", "", 0o600}, tarFile("src/f", "x")), to)
	left, _ := os.ReadDir(filepath.Join(to, "src"))
	if err != nil || x.devices != 2 || len(left) != 1 || left[0].Name() != "f" {
		t.Error(err, x.devices, left)
	}
}

func TestCopyOutKeepsModesButForSetuid(t *testing.T) {
	to := t.TempDir()
	x := &extraction{name: "src"}
	err := x.extract(tarStream(t, tarEntry{tar.TypeDir, "src", "", 0o2500}, tarEntry{tar.TypeReg, "src/su", "x", 0o6711}, tarEntry{tar.TypeFifo, "src/p", "", 0o600}), to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(to, "src"), 0o700) })
	for name, want := range map[string]fs.FileMode{"src": fs.ModeDir | 0o500, "src/su": 0o711, "src/p": fs.ModeNamedPipe | 0o600} {
		info, err := os.Lstat(filepath.Join(to, name))
		if err != nil || info.Mode() != want || name != "src/p" && !info.ModTime().Equal(time.Unix(1e9, 0)) {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

func TestCopyOutOfABrokenStream(t *testing.T) {
	whole, err := io.ReadAll(tarStream(t, tarFile("one", strings.Repeat("x", 5000))))
	if err != nil {
		t.Fatal(err)
	}
	for _, length := range []int{0, 100, 512, 3000} {
		to := t.TempDir()
		if err := os.WriteFile(filepath.Join(to, "one"), []byte("was"), 0o600); err != nil {
			t.Fatal(err)
		}
		x := &extraction{name: "one"}
		if err := x.extract(bytes.NewReader(whole[:length]), to); err == nil || treeOf(t, to) != "one=was" {
			t.Errorf("%d bytes: %v, %s", length, err, treeOf(t, to))
		}
	}
}

func FuzzCopyOut(f *testing.F) {
	f.Add([]byte("nothing"))
	f.Fuzz(func(t *testing.T, text []byte) {
		top := t.TempDir()
		if err := firstError(os.Mkdir(filepath.Join(top, "to"), 0o755), os.WriteFile(filepath.Join(top, "victim"), []byte("mine"), 0o600)); err != nil {
			t.Fatal(err)
		}
		x := &extraction{name: "src"}
		_ = x.extract(bytes.NewReader(text), filepath.Join(top, "to"))
		entries, err := os.ReadDir(top)
		if err != nil || len(entries) != 2 {
			t.Errorf("%v, %v", entries, err)
		}
	})
}

// TestCopyInNames has what files are called in the container.
func TestCopyInNames(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := firstError(os.MkdirAll("src/sub", 0o755), os.WriteFile("src/sub/a", []byte("1"), 0o644), os.Link("src/sub/a", "src/b"), os.Symlink("b", "src/l"),
		os.WriteFile("one", []byte("1"), 0o4755), os.Symlink("one", "alias"), os.Symlink("/etc/passwd", "src/out")); err != nil {
		t.Fatal(err)
	}
	missing, dir, regular := copyTarget{path: "/a/new"}, copyTarget{path: "/a", exists: true, isDir: true}, copyTarget{path: "/a/f", exists: true}
	for _, test := range []struct {
		source       string
		follow       bool
		to           copyTarget
		shown, where string // where it goes, or an error
		want         string
	}{
		{"src", false, dir, "/a", "/a", "src/ src/b=1 src/l->b src/out->/etc/passwd src/sub/ src/sub/a~src/b"},
		{"src/.", false, dir, "/a", "/a", "b=1 l->b out->/etc/passwd sub/ sub/a~b"},
		{"src", false, missing, "/a/new", "/a", "new/ new/b=1 new/l->b new/out->/etc/passwd new/sub/ new/sub/a~new/b"},
		{"src/", false, missing, "/a/new/", "/a", "new/ new/b=1 new/l->b new/out->/etc/passwd new/sub/ new/sub/a~new/b"},
		{"src", false, regular, "/a/f", "error: a directory cannot replace a file", ""},
		{"one", false, dir, "/a", "/a", "one=1"},
		{"one", false, missing, "/a/new", "/a", "new=1"},
		{"one", false, missing, "/a/new/", "error: no such directory", ""},
		{"one", false, regular, "/a/f", "/a", "f=1"},
		{"alias", false, dir, "/a", "/a", "alias->one"},
		{"alias", true, dir, "/a", "/a", "alias=1"},
	} {
		f := &cpFlags{followLink: test.follow}
		p, err := f.pack(test.source)
		if err != nil {
			t.Fatal(err)
		}
		where, err := p.placeIn(test.to, test.shown)
		if why, failing := strings.CutPrefix(test.where, "error: "); failing {
			if err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%s to %s: %v", test.source, test.shown, err)
			}
			continue
		}
		var out bytes.Buffer
		if err := p.writeTo(&out); err != nil {
			t.Fatal(err)
		}
		p.close()
		if got := entriesOf(t, &out); where != test.where || got != test.want {
			t.Errorf("%s to %s: %s\ngot  %s\nwant %s", test.source, test.shown, where, got, test.want)
		}
	}
	for _, source := range []string{"none", "one/", "one/."} {
		if _, err := (&cpFlags{}).pack(source); sandbox.CodeOf(err) != sandbox.CodeNotFound {
			t.Errorf("%s: %v", source, err)
		}
	}
}

func entriesOf(t *testing.T, r io.Reader) string {
	t.Helper()
	var texts []string
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if err != nil {
			return strings.Join(texts, " ")
		}
		text, _ := io.ReadAll(in)
		switch h.Typeflag {
		case tar.TypeReg:
			h.Name += "=" + string(text)
		case tar.TypeSymlink:
			h.Name += "->" + h.Linkname
		case tar.TypeLink:
			h.Name += "~" + h.Linkname
		}
		if h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%s belongs to %d:%d", h.Name, h.Uid, h.Gid)
		}
		texts = append(texts, h.Name)
	}
}
