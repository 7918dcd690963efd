package build

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/opencontainers/go-digest"

	"github.com/bivouac-run/bivouac/rootfs"
)

func isURL(source string) bool {
	return (strings.HasPrefix(source, "http://") || strings.HasPrefix(source, "https://")) && !isGit(source)
}

// isGit is true for what BuildKit would clone.
func isGit(source string) bool {
	for _, prefix := range []string{"git://", "ssh://", "git@"} {
		if strings.HasPrefix(source, prefix) {
			return true
		}
	}
	if !strings.HasPrefix(source, "http://") && !strings.HasPrefix(source, "https://") {
		return strings.HasPrefix(source, "github.com/")
	}
	u, err := url.Parse(source)
	return err == nil && strings.HasSuffix(u.Path, ".git")
}

// escapeMeta makes a pattern that matches a name alone.
func escapeMeta(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// download is an ADD of a URL.
type download struct {
	builder  *builder
	step     *step
	url      string
	name     string // of the file
	checksum digest.Digest
	memo     string
	pick     *selection

	get  sync.Mutex
	file *folder // once it is here
}

// remembered is what an earlier build knows of a URL.
type remembered struct {
	sum            string
	etag, modified string
}

func (b *builder) download(ctx context.Context, c *command, source string, cp *copying) (*fileSource, error) {
	d := &download{builder: b, step: c.step, url: source, name: "__unnamed__"}
	if u, err := url.Parse(source); err == nil && path.Base(u.Path) != "." && path.Base(u.Path) != "/" {
		d.name = path.Base(u.Path)
	}
	d.pick = &selection{Patterns: []string{escapeMeta(d.name)}, Unpack: cp.unpack != nil && *cp.unpack}
	var err error
	if cp.checksum != "" {
		if d.checksum, err = digest.Parse(cp.checksum); err != nil {
			return nil, fmt.Errorf("read --checksum=%s: %w", cp.checksum, err)
		}
	}
	if d.memo, err = b.memo("url", d.url, d.checksum); err != nil {
		return nil, err
	}
	sum, err := d.sum(ctx)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", printable(d.url), err)
	}
	return &fileSource{key: sourceKey{Select: d.pick, Sum: sum, Name: d.name}, folder: d.open, pick: d.pick}, nil
}

// sum is the digest of the file. One whose checksum is given, and that was there once, is not asked for again.
func (d *download) sum(ctx context.Context) (string, error) {
	known := d.recall()
	if known.sum != "" && d.checksum != "" {
		return known.sum, nil
	}
	fresh, err := d.fetch(ctx, known)
	if err != nil {
		return "", err
	}
	if fresh == nil {
		return known.sum, nil
	}
	if fresh.sum, _, err = d.pick.describe(ctx, d.file); err != nil {
		return "", err
	}
	_ = writeWhole(d.memo, fmt.Appendf(nil, "%s\n%s\n%s\n", fresh.sum, fresh.etag, fresh.modified)) // a courtesy to later builds
	return fresh.sum, nil
}

func (d *download) recall() (r remembered) {
	content, err := os.ReadFile(d.memo)
	if err != nil {
		return r
	}
	lines := strings.Split(string(content), "\n")
	if len(lines) != 4 || !isKey(lines[0]) {
		return r
	}
	return remembered{lines[0], lines[1], lines[2]}
}

// open gives do the directory that has the file.
func (d *download) open(ctx context.Context, do func(*folder) error) error {
	d.get.Lock()
	defer d.get.Unlock()
	if d.file == nil {
		if _, err := d.fetch(ctx, remembered{}); err != nil {
			return fmt.Errorf("get %s: %w", printable(d.url), err)
		}
	}
	return do(d.file)
}

// fetch gets the file, or nothing if the server says that it is what was known.
func (d *download) fetch(ctx context.Context, known remembered) (*remembered, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url, nil)
	if err != nil {
		return nil, err
	}
	if known.etag != "" {
		request.Header.Set("If-None-Match", known.etag)
	}
	if known.modified != "" {
		request.Header.Set("If-Modified-Since", known.modified)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, &rootfs.Error{Code: rootfs.Unreachable, Err: err, Remedy: "check the address and your network"}
	}
	defer answer.Body.Close()
	switch {
	case answer.StatusCode == http.StatusNotModified && known.sum != "":
		return nil, nil
	case answer.StatusCode != http.StatusOK:
		return nil, &rootfs.Error{Code: rootfs.NotFound, Err: fmt.Errorf("the server says %s", printable(answer.Status))}
	}
	if err := d.store(answer); err != nil {
		return nil, err
	}
	return &remembered{etag: oneWord(answer.Header.Get("ETag")), modified: oneWord(answer.Header.Get("Last-Modified"))}, nil
}

func oneWord(header string) string { return strings.ReplaceAll(printable(header), "\n", "") }

// store writes the file as ADD has it: for its owner alone, and as old as the server says.
func (d *download) store(answer *http.Response) error {
	dir, err := d.builder.work.dir("download")
	if err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(dir, d.name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	verifier := io.Writer(io.Discard)
	if d.checksum != "" {
		verifier = d.checksum.Verifier()
	}
	progress := &received{step: d.step, at: Event{Kind: EventProgress, Total: max(answer.ContentLength, 0)}}
	_, err = io.Copy(io.MultiWriter(file, verifier, progress), answer.Body)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	if v, ok := verifier.(digest.Verifier); ok && !v.Verified() {
		return &rootfs.Error{Code: rootfs.DigestMismatch, Err: fmt.Errorf("the file does not have the checksum %s", d.checksum)}
	}
	at, err := http.ParseTime(answer.Header.Get("Last-Modified"))
	if err != nil {
		at = time.Unix(0, 0)
	}
	if err := os.Chtimes(file.Name(), at, at); err != nil {
		return err
	}
	d.file, err = openFolder("the download", dir)
	if err == nil {
		d.builder.keep(d.file)
	}
	return err
}

// received tells how far a download is.
type received struct {
	step *step
	at   Event
	last time.Time
}

// progressInterval limits the events of one transfer.
const progressInterval = 100 * time.Millisecond

func (r *received) Write(p []byte) (int, error) {
	r.at.Current += int64(len(p))
	if now := time.Now(); now.Sub(r.last) >= progressInterval {
		r.last = now
		r.step.start()
		r.step.tell(r.at)
	}
	return len(p), nil
}

// inline is a file whose text is in the Dockerfile.
func (b *builder) inline(ctx context.Context, content instructions.SourceContent) (*fileSource, error) {
	dir, err := b.work.dir("inline")
	if err != nil {
		return nil, err
	}
	name := filepath.Base(content.Path)
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(content.Data), 0o600); err != nil {
		return nil, err
	}
	if err := os.Chmod(file, 0o644); err != nil {
		return nil, err
	}
	f, err := openFolder("the Dockerfile", dir)
	if err != nil {
		return nil, err
	}
	b.keep(f)
	pick := &selection{Patterns: []string{escapeMeta(name)}}
	sum, _, err := pick.describe(ctx, f)
	open := func(_ context.Context, do func(*folder) error) error { return do(f) }
	return &fileSource{key: sourceKey{Select: pick, Sum: sum}, folder: open, pick: pick}, err
}

// keep has a folder closed at the end of the build.
func (b *builder) keep(f *folder) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.folders = append(b.folders, f)
}
