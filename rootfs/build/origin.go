package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

// chainOf returns the layers that an origin is, which is no context: their directories and diff IDs.
func (b *builder) chainOf(ctx context.Context, o origin) (lowers []string, chain []digest.Digest, err error) {
	switch {
	case o.stage != nil:
		st, err := await(ctx, o.stage)
		if err != nil {
			return nil, nil, err
		}
		return st.lowers, st.chain, nil
	case o.image != nil:
		return o.image.img.Layers, o.image.img.Config.RootFS.DiffIDs, nil
	}
	return nil, nil, nil
}

func (o origin) String() string {
	switch {
	case o.stage != nil:
		return "stage " + o.stage.label()
	case o.image != nil:
		return "image " + o.image.ref
	case o.files != nil:
		return o.files.name
	}
	return "scratch"
}

// open opens an origin for do; layers are mounted for it.
func (b *builder) open(ctx context.Context, o origin, do func(*folder) error) error {
	if o.files != nil {
		return do(o.files)
	}
	return b.openLayers(ctx, o, func(dir string) error {
		f, err := openFolder(o.String(), dir)
		if err != nil {
			return err
		}
		defer f.Close()
		f.layers, f.single = true, b.store.IDs().Single
		return do(f)
	})
}

func (b *builder) openLayers(ctx context.Context, o origin, do func(dir string) error) (err error) {
	lowers, _, err := b.chainOf(ctx, o)
	if err != nil {
		return err
	}
	if len(lowers) == 0 {
		dir, err := b.work.dir("empty")
		if err != nil {
			return err
		}
		return do(dir)
	}
	dir, unmount, err := b.worker.Mount(ctx, Overlay{Lowers: lowers})
	if err != nil {
		return fmt.Errorf("mount %s: %w", o, err)
	}
	defer func() { err = errors.Join(err, unmount()) }()
	return do(dir)
}

// describe returns a digest of the files that are selected, and their number. Of layers, which do not change, it is remembered.
func (b *builder) describe(ctx context.Context, o origin, pick *selection) (sum string, n int, err error) {
	if o.files != nil {
		return pick.describe(ctx, o.files)
	}
	_, chain, err := b.chainOf(ctx, o)
	if err != nil {
		return "", 0, err
	}
	memo, err := b.memo("files", b.store.IDs().Single, chain, pick)
	if err != nil {
		return "", 0, err
	}
	if sum, n, ok := readMemo(memo); ok {
		return sum, n, nil
	}
	err = b.open(ctx, o, func(f *folder) error {
		sum, n, err = pick.describe(ctx, f)
		return err
	})
	if err == nil {
		_ = writeWhole(memo, fmt.Appendf(nil, "%s %d\n", sum, n)) // a courtesy to later builds
	}
	return sum, n, err
}

// memo is the file that remembers something about values.
func (b *builder) memo(values ...any) (string, error) {
	text, err := json.Marshal(values)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return b.path("hashes", hex.EncodeToString(sum[:])), nil
}

func readMemo(path string) (sum string, n int, ok bool) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", 0, false
	}
	sum, count, _ := strings.Cut(strings.TrimSpace(string(content)), " ")
	n, err = strconv.Atoi(count)
	return sum, n, err == nil && isKey(sum)
}

func (b *builder) path(elem ...string) string { return buildPath(b.store, elem...) }
