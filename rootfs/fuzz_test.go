package rootfs

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// FuzzManifest reads documents as a hostile registry may send them.
func FuzzManifest(f *testing.F) {
	for _, s := range []string{
		`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + someDigest + `","size":2},"layers":[{"digest":"` + someDigest + `"}]}`,
		`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + someDigest + `","platform":{"os":"linux","architecture":"amd64"}}]}`,
		`{"rootfs":{"diff_ids":["` + someDigest + `"]}}`, `{"schemaVersion":1}`, `null`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		_, _ = sniff(content, "")
		if index, err := parseIndex(content); err == nil {
			_, _ = choose(index, hostPlatform())
		}
		if m, err := parseManifest(content); err == nil {
			for _, d := range m.Layers {
				if name := fileName(d.Digest); filepath.Base(name) != name || d.Size < 0 {
					t.Errorf("unsafe digest %q", d.Digest)
				}
			}
		}
		_, _ = parseConfig(content, 1)
	})
}

// FuzzIndex reads index.json as another tool may have left it.
func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"`+someDigest+`","annotations":{"io.containerd.image.name":"x"}}]}`), "x")
	f.Add([]byte(`{"manifests":[{"digest":"x"}]}`), "e3b0c442")
	f.Fuzz(func(t *testing.T, content []byte, name string) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "index.json"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		s := openStoreIn(t, dir)
		_, _ = s.List()
		_, _ = s.Inspect(name, "")
	})
}

func FuzzRegistriesConf(f *testing.F) {
	f.Add([]byte("[[registry]]\nprefix='*.b'\n[[registry.mirror]]\nlocation='c.d/e'\n"), "a.b/c:1")
	f.Add([]byte("unqualified-search-registries=['a.b']\n[aliases]\nx='y.z/x'\n"), "x")
	f.Fuzz(func(t *testing.T, content []byte, name string) {
		conf, err := parseRegistriesConf(content)
		if err != nil {
			return
		}
		ref, err := ParseReference(name)
		if err != nil || ref.Transport != Registry {
			return
		}
		meanings, err := conf.meanings(ref)
		if err != nil {
			return
		}
		for _, meaning := range meanings {
			if places, err := conf.places(meaning, false); err == nil && len(places) == 0 {
				t.Errorf("no place for %s", meaning)
			}
		}
	})
}

// FuzzArchive reads the list of names in an archive, and follows all of them.
func FuzzArchive(f *testing.F) {
	f.Add(tarOf(f, tree{"file manifest.json []", "symlink a/layer.tar ../b/layer.tar", "hardlink l ../../etc/passwd", "symlink loop loop"}))
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := os.Create(filepath.Join(t.TempDir(), "a.tar"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := io.Copy(file, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		files := &tarFiles{file: file, parts: map[string]tarPart{}}
		_ = files.scan()
		for name := range files.parts {
			_, _ = readPart(files, name, 1000)
		}
	})
}
