package keeper

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/aside"
	"github.com/bivouac-run/bivouac/rootfs/build"
	"github.com/bivouac-run/bivouac/rootfs/overlay"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/keeper/tree"
)

// buildExport says where the files of a build, or its image, go besides the store.
type buildExport struct{ kind, dest string }

// isFiles tells whether the target's files alone are wanted, and not an image.
func (e buildExport) isFiles() bool { return e.kind == "local" || e.kind == "tar" }

// parseExport reads type=KIND,dest=PATH.
func parseExport(s *sandbox.BuildSpec) (e buildExport, err error) {
	if s.Output == "" {
		return e, nil
	}
	kind, dest, ok := strings.Cut(strings.TrimPrefix(s.Output, "type="), ",dest=")
	known := slices.Contains([]string{"local", "tar", "oci", "docker"}, kind)
	if !ok || !known || !filepath.IsAbs(dest) {
		return e, sandbox.Errorf(sandbox.CodeInvalid, "build into %q: no such output", s.Output).
			WithRemedy("use type=local|tar|oci|docker,dest=PATH with an absolute path")
	}
	return buildExport{kind, dest}, nil
}

// export writes what was built. It is a step of the build of its own.
func (b *imageBuild) export(ctx context.Context, e buildExport, image *rootfs.Image) error {
	if e.kind == "" {
		return nil
	}
	step := b.steps + 1
	b.tell(build.Event{Step: step, Kind: build.EventStart, Name: "exporting to " + e.kind})
	err := b.write(ctx, e, image)
	if err != nil {
		b.tell(build.Event{Step: step, Kind: build.EventFailed, Text: []byte(toWire(err).Message)})
		return err
	}
	b.tell(build.Event{Step: step, Kind: build.EventDone})
	return nil
}

func (b *imageBuild) write(ctx context.Context, e buildExport, image *rootfs.Image) error {
	switch e.kind {
	case "local":
		return b.k.exportTree(ctx, image, e.dest)
	case "tar":
		return b.toFile(e.dest, func(w io.Writer) error { return b.k.archiveImage(ctx, image, w, b.epoch()) })
	}
	o := rootfs.SaveOptions{Images: b.spec.Names, Platform: b.spec.Platform, Format: rootfs.SaveDocker}
	if e.kind == "oci" {
		o.Format = rootfs.SaveOCI
	}
	if len(o.Images) == 0 {
		o.Images = []string{image.ID.String()}
	}
	return b.toFile(e.dest, func(w io.Writer) error { return b.k.store.Save(ctx, w, o) })
}

// toFile gives a file its name when it is complete.
func (b *imageBuild) toFile(dest string, write func(io.Writer) error) error {
	f, err := aside.Create(dest)
	if err != nil {
		return sandbox.Errorf(sandbox.CodeInvalid, "write %s: %v", dest, err).WithRemedy("choose a directory that is there and is yours")
	}
	defer f.Discard()
	if err := errors.Join(write(f), f.Chmod(0o644)); err != nil {
		return fmt.Errorf("write %s: %w", dest, noSpace(err))
	}
	return f.Keep()
}

func (b *imageBuild) epoch() *time.Time {
	if b.spec.SourceDateEpoch == nil {
		return nil
	}
	t := time.Unix(*b.spec.SourceDateEpoch, 0)
	return &t
}

// archiveImage writes an image's files as one tar archive. Times are cut at latest, if that is not nil.
func (k *keeper) archiveImage(ctx context.Context, image *rootfs.Image, w io.Writer, latest *time.Time) error {
	return k.overImage(image, func(root *tree.Root) error {
		return pipeTar(ctx, root, w, func(h *tar.Header) bool {
			if latest != nil && h.ModTime.After(*latest) {
				h.ModTime = *latest
			}
			return true
		})
	})
}

// exportTree writes an image's files to a directory of the user's, to whom they belong there. Devices stay out.
func (k *keeper) exportTree(ctx context.Context, image *rootfs.Image, dest string) error {
	if err := os.MkdirAll(dest, 0o755); err != nil {
		return sandbox.Errorf(sandbox.CodeInvalid, "write to %s: %v", dest, err).WithRemedy("choose a directory of your own")
	}
	dir, err := openRoot(dest)
	if err != nil {
		return err
	}
	to := tree.New(dir, false)
	defer to.Close()
	return k.overImage(image, func(root *tree.Root) error {
		r, w := io.Pipe()
		go func() { w.CloseWithError(pipeTar(ctx, root, w, asUsers)) }()
		err := to.Extract(ctx, "/", r)
		_ = r.CloseWithError(err) // the writer ends with it
		return err
	})
}

// asUsers gives an entry to the user, without what only a container's root could have.
func asUsers(h *tar.Header) bool {
	h.Uid, h.Gid, h.Uname, h.Gname, h.PAXRecords, h.Xattrs = 0, 0, "", "", nil, nil //nolint:staticcheck // a reader sets both
	return h.Typeflag != tar.TypeChar && h.Typeflag != tar.TypeBlock && h.Typeflag != tar.TypeFifo
}

// pipeTar writes a tree as a tar archive, of which change may alter or leave out entries.
func pipeTar(ctx context.Context, root *tree.Root, w io.Writer, change func(*tar.Header) bool) error {
	a, err := root.Archive("/")
	if err != nil {
		return err
	}
	defer a.Close()
	r, raw := io.Pipe()
	go func() { raw.CloseWithError(a.WriteTo(ctx, raw)) }()
	defer r.Close() //nolint:errcheck // the writer ends with it
	in, out := tar.NewReader(r), tar.NewWriter(w)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return out.Close()
		}
		if err != nil {
			return err
		}
		if !change(h) {
			continue
		}
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
	}
}

// overImage mounts an image's layers for as long as f works with them.
func (k *keeper) overImage(image *rootfs.Image, f func(*tree.Root) error) (err error) {
	if len(image.Layers) == 0 {
		return nil
	}
	root := filepath.Join(k.scratch.dir, "export-"+newID()[:12])
	if err := os.Mkdir(root, 0o700); err != nil {
		return fmt.Errorf("make a mount point: %w", noSpace(err))
	}
	defer func() { err = errors.Join(err, os.Remove(root)) }()
	if err := overlay.Mount(root, overlay.Options{Lower: image.Layers}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, overlay.Unmount(root)) }()
	dir, err := openRoot(root)
	if err != nil {
		return err
	}
	t := tree.New(dir, k.single())
	defer t.Close()
	return f(t)
}
