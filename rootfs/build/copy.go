package build

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	mode "github.com/tonistiigi/dchapes-mode"

	"github.com/bivouac-run/bivouac/rootfs"
)

// copying is a COPY or an ADD.
type copying struct {
	instructions.SourcesAndDest
	name         string // COPY or ADD
	from         string
	chown, chmod string
	link         bool
	parents      bool
	exclude      []string
	checksum     string
	unpack       *bool // of ADD: nil for archives of the context alone
	at           []parser.Range
}

func copyOf(c *instructions.CopyCommand) *copying {
	return &copying{SourcesAndDest: c.SourcesAndDest, name: "COPY", from: c.From, chown: c.Chown, chmod: c.Chmod, link: c.Link,
		parents: c.Parents, exclude: c.ExcludePatterns, at: c.Location()}
}

func addOf(c *instructions.AddCommand) *copying {
	return &copying{SourcesAndDest: c.SourcesAndDest, name: "ADD", chown: c.Chown, chmod: c.Chmod, link: c.Link,
		exclude: c.ExcludePatterns, checksum: c.Checksum, unpack: c.Unpack, at: c.Location()}
}

// fileSource is one of the places that a copying takes files from.
type fileSource struct {
	key    sourceKey
	folder func(ctx context.Context, do func(*folder) error) error // opens it
	pick   *selection
}

// copy does a COPY or ADD.
func (b *builder) copy(ctx context.Context, s *stage, st *state, c *command, cp *copying) (*made, error) {
	chmod, octal, err := readMode(cp.chmod)
	if err != nil {
		return nil, err
	}
	dest := st.absolute(cp.DestPath)
	if err := cp.checkDest(dest); err != nil {
		return nil, err
	}
	sources, err := b.sources(ctx, s, c, cp)
	if err != nil {
		return nil, err
	}
	key := b.key(st)
	key.Copy = &copyKey{Dest: dest, Chown: cp.chown, Chmod: cp.chmod}
	for _, src := range sources {
		key.Copy.Sources = append(key.Copy.Sources, src.key)
	}
	onto, parents := *st, []parentDir(nil)
	if cp.link && isNumeric(cp.chown) {
		var ok bool
		if parents, ok, err = parentsOf(st.lowers, dest, b.store.IDs().Single); err != nil {
			return nil, err
		}
		if ok {
			onto.lowers, key.Below, key.Copy.Parents = nil, nil, parents
		}
	}
	m, err := b.once(ctx, c.step, key.String(), s.noCache, func() (rootfs.Layer, error) {
		return b.change(ctx, &onto, func(t *target) error {
			if err := t.makeParents(parents); err != nil {
				return err
			}
			t.chmod, t.octal = chmod, octal
			if t.owner, err = t.userOf(cp.chown); err != nil {
				return err
			}
			return b.copyTo(ctx, c, t, dest, sources)
		})
	})
	if err != nil {
		return nil, err
	}
	st.add(m, cp.history())
	return m, nil
}

// checkDest refuses to copy several files to one.
func (cp *copying) checkDest(dest string) error {
	if len(cp.SourcePaths)+len(cp.SourceContents) > 1 && !strings.HasSuffix(dest, "/") {
		return fmt.Errorf("when using %s with more than one source file, the destination must be a directory and end with a /", cp.name)
	}
	if cp.checksum != "" && (len(cp.SourcePaths) != 1 || !isURL(cp.SourcePaths[0])) {
		return errors.New("--checksum is for a single source that is an http or https URL")
	}
	return nil
}

// copyTo copies all sources, and checks that they still are what their keys say.
func (b *builder) copyTo(ctx context.Context, c *command, t *target, dest string, sources []*fileSource) error {
	for _, src := range sources {
		err := src.folder(ctx, func(f *folder) error {
			sum, err := src.pick.copy(ctx, f, t, dest, extractor{warn: c.step.warn})
			if err == nil && sum != src.key.Sum {
				err = fmt.Errorf("read %s: %w", f.name, errChanged)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sources finds out what each source is: files of a context, a stage or an image, a download, or text in the Dockerfile.
func (b *builder) sources(ctx context.Context, s *stage, c *command, cp *copying) (all []*fileSource, err error) {
	var local []string
	for _, path := range cp.SourcePaths {
		switch {
		case isGit(path):
			return nil, fmt.Errorf("%s %s: git repositories are not supported; clone it in a RUN", cp.name, path)
		case isURL(path) && cp.name == "COPY":
			return nil, fmt.Errorf("COPY %s: a source can be a URL for ADD alone", path)
		case isURL(path):
			src, err := b.download(ctx, c, path, cp)
			if err != nil {
				return nil, err
			}
			all = append(all, src)
		default:
			local = append(local, path)
		}
	}
	if len(local) > 0 {
		src, err := b.files(ctx, c, cp, local)
		if err != nil {
			return nil, err
		}
		all = append(all, src)
	}
	for _, content := range cp.SourceContents {
		src, err := b.inline(ctx, content)
		if err != nil {
			return nil, err
		}
		all = append(all, src)
	}
	return all, nil
}

// files are those that patterns select.
func (b *builder) files(ctx context.Context, c *command, cp *copying, patterns []string) (*fileSource, error) {
	pick := &selection{Patterns: patterns, Exclude: cp.exclude, Parents: cp.parents}
	pick.Unpack = cp.name == "ADD" && (cp.unpack == nil || *cp.unpack)
	from := origin{files: b.context}
	if len(c.from) > 0 {
		from = c.from[0]
	}
	sum, n, err := b.describe(ctx, from, pick)
	if err != nil {
		return nil, err
	}
	if n == 0 && slices.ContainsFunc(patterns, hasMeta) {
		c.step.warn("%s %s: no file matches", cp.name, strings.Join(patterns, " "))
	}
	return &fileSource{
		key:    sourceKey{Select: pick, Sum: sum, Layers: from.files == nil},
		folder: func(ctx context.Context, do func(*folder) error) error { return b.open(ctx, from, do) },
		pick:   pick,
	}, nil
}

// history is the instruction as Docker writes it.
func (cp *copying) history() string {
	text := cp.name
	if cp.parents {
		text += " --parents"
	}
	if cp.chown != "" {
		text += " --chown=" + cp.chown
	}
	if cp.chmod != "" {
		text += " --chmod=" + cp.chmod
	}
	for _, path := range cp.SourcePaths {
		text += " " + path
	}
	for _, content := range cp.SourceContents {
		text += " <<" + content.Path
	}
	return text + " " + cp.DestPath
}

// maxMode are all permissions.
const maxMode = 0o7777

// readMode reads --chmod: an octal number, or words as chmod(1) takes them.
func readMode(text string) (set *mode.Set, octal *uint32, err error) {
	if text == "" {
		return nil, nil, nil
	}
	if n, err := strconv.ParseUint(text, 8, 32); err == nil {
		if n > maxMode {
			return nil, nil, fmt.Errorf("read --chmod=%s: write an octal number from 0 to 07777", text)
		}
		permissions := uint32(n)
		return nil, &permissions, nil
	}
	parsed, err := mode.ParseWithUmask(text, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("read --chmod=%s: write an octal number from 0 to 07777, or as u=rwx,go=rx", text)
	}
	return &parsed, nil, nil
}
