package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// openContext opens the context and reads the Dockerfile.
func (b *builder) openContext(ctx context.Context) (err error) {
	if b.context, err = b.openSource(ctx, "the context", b.spec.Context); err != nil {
		return err
	}
	name, text, err := b.readDockerfile()
	if err != nil {
		return err
	}
	if b.file, err = parseDockerfile(name, text); err != nil {
		return err
	}
	b.context.ignore, err = readIgnore(b.context, name)
	return err
}

// readDockerfile returns the Dockerfile's name and text.
func (b *builder) readDockerfile() (name string, text []byte, err error) {
	if b.spec.Text != "" {
		name = b.spec.Dockerfile
		if name == "" {
			name = "Dockerfile"
		}
		return name, []byte(b.spec.Text), nil
	}
	if b.spec.Dockerfile != "" {
		text, err = b.context.read(b.spec.Dockerfile, maxDockerfile)
		return b.spec.Dockerfile, text, err
	}
	for _, name := range []string{"Dockerfile", "Containerfile"} {
		text, err = b.context.read(name, maxDockerfile)
		if !errors.Is(err, fs.ErrNotExist) {
			return name, text, err
		}
	}
	return "", nil, &rootfs.Error{Code: rootfs.NotFound, Remedy: "name it with --file",
		Err: errors.New("find Dockerfile: the context has neither a Dockerfile nor a Containerfile")}
}

// readIgnore reads what a context leaves out: NAME.dockerignore beside the Dockerfile of that name, or else .dockerignore.
func readIgnore(f *folder, dockerfile string) (*patternmatcher.PatternMatcher, error) {
	for _, name := range []string{dockerfile + ".dockerignore", ".dockerignore"} {
		content, err := f.read(name, maxDockerfile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		matcher, err := parseIgnore(content)
		if err != nil {
			return nil, &rootfs.Error{Code: rootfs.BadConfig, Err: fmt.Errorf("read %s: %w", name, oneLine(err))}
		}
		return matcher, nil
	}
	return nil, nil
}

func parseIgnore(content []byte) (*patternmatcher.PatternMatcher, error) {
	patterns, err := ignorefile.ReadAll(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	return matcherOf(patterns)
}

// openSource opens a directory, or extracts an archive and opens that. Empty is an empty directory.
func (b *builder) openSource(ctx context.Context, name, dir string) (*folder, error) {
	if dir == "" {
		return b.openTemp(name)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, &rootfs.Error{Code: rootfs.NotFound, Err: fmt.Errorf("open %s: %w", name, err), Remedy: "name a directory or an archive"}
	}
	switch {
	case info.Mode().IsRegular():
		return b.openArchive(ctx, name, dir)
	case !info.IsDir():
		return nil, &rootfs.Error{Code: rootfs.NotFound, Err: fmt.Errorf("open %s: %s is no directory and no file", name, dir)}
	}
	f, err := openFolder(name, dir)
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256([]byte(path.Clean(dir)))
	f.known = openHashes(b.path("hashes", "context-"+hex.EncodeToString(id[:])))
	b.folders = append(b.folders, f)
	return f, nil
}

// openTemp makes an empty directory.
func (b *builder) openTemp(name string) (*folder, error) {
	dir, err := b.work.dir("context")
	if err != nil {
		return nil, err
	}
	f, err := openFolder(name, dir)
	if err == nil {
		b.folders = append(b.folders, f)
	}
	return f, err
}

// openArchive extracts a tar archive, whose files lose their owners: all of a context belongs to 0.
func (b *builder) openArchive(ctx context.Context, name, file string) (*folder, error) {
	f, err := b.openTemp(name)
	if err != nil {
		return nil, err
	}
	archive, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	x := extractor{warn: b.definition.warn}
	t := &target{root: f.root, single: true, owner: &handle.Owner{}}
	if err := x.extract(ctx, archive, t); err != nil {
		return nil, fmt.Errorf("read %s from %s: %w", name, filepath.Base(file), err)
	}
	return f, nil
}

// namedContext is one of [Spec.Contexts] that is a directory or an archive.
func (b *builder) namedContext(name, dir string) (*folder, error) {
	if f, ok := b.named[name]; ok {
		return f, nil
	}
	f, err := b.openSource(b.ctx, fmt.Sprintf("context %q", name), dir)
	if err != nil {
		return nil, err
	}
	if f.ignore, err = readIgnore(f, "Dockerfile"); err != nil {
		return nil, err
	}
	b.named[name] = f
	return f, nil
}
