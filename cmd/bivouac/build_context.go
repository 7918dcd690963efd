package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// buildSource is where the files of a build come from.
type buildSource struct {
	path       string // of a directory or an archive, absolute
	isDir      bool
	text       string // of a Dockerfile that came instead of files, or from the standard input
	dockerfile string // in the context
	temporary  string // directory to remove
}

func (s *buildSource) remove() {
	if s.temporary != "" {
		_ = os.RemoveAll(s.temporary) // a temporary directory of ours, which the system sweeps too
	}
}

// openContext finds the context. What comes as a stream is kept in a temporary file as long as the build takes.
func (f *buildFlags) openContext(ctx context.Context, stdin io.Reader, path string) (*buildSource, error) {
	s := &buildSource{}
	err := f.fillContext(ctx, s, stdin, path)
	if err == nil && s.text == "" {
		err = f.findDockerfile(s, stdin, path)
	}
	if err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

func (f *buildFlags) fillContext(ctx context.Context, s *buildSource, stdin io.Reader, path string) error {
	switch {
	case path == "-" && f.file == "-":
		return usageErrorf("context - and --file -: there is one standard input; give one of them as a path")
	case path == "-":
		return s.fill(stdin, "the standard input", f.file == "")
	case strings.HasPrefix(path, "http://"), strings.HasPrefix(path, "https://"):
		return f.download(ctx, s, path)
	case isGitURL(path):
		return usageErrorf("context %s: repositories are not fetched; clone it and give the directory", printable(path))
	}
	return s.open(path)
}

func isGitURL(path string) bool {
	for _, prefix := range []string{"git://", "git@", "ssh://", "github.com/"} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return strings.HasSuffix(path, ".git") && strings.Contains(path, "://")
}

// open takes a path of this machine.
func (s *buildSource) open(path string) (err error) {
	if s.path, err = filepath.Abs(path); err != nil {
		return err
	}
	info, err := os.Stat(s.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return usageErrorf("context %s: there is no such directory; give the one with the Dockerfile", printable(path))
	case err != nil:
		return fmt.Errorf("open the context: %w", err)
	case !info.IsDir() && !info.Mode().IsRegular():
		return usageErrorf("context %s: is neither a directory nor an archive; give the directory with the Dockerfile", printable(path))
	}
	s.isDir = info.IsDir()
	return nil
}

// download fetches an archive, or a Dockerfile.
func (f *buildFlags) download(ctx context.Context, s *buildSource, url string) error {
	if strings.HasSuffix(strings.SplitN(url, "#", 2)[0], ".git") || strings.Contains(url, ".git#") {
		return usageErrorf("context %s: repositories are not fetched; clone it and give the directory", printable(url))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return usageErrorf("context %s: not a URL; give a directory, or the URL of an archive", printable(url))
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("fetch the context: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("fetch the context %s: the server says %s; check the URL", url, answer.Status)
	}
	return s.fill(answer.Body, url, f.file == "")
}

// maxDockerfile is more than any Dockerfile has.
const maxDockerfile = 1 << 20

// fill takes a stream: an archive, or a Dockerfile with an empty context, as Docker tells them apart.
func (s *buildSource) fill(r io.Reader, name string, mayBeDockerfile bool) (err error) {
	buffered := bufio.NewReaderSize(r, 4096)
	head, err := buffered.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if s.temporary, err = os.MkdirTemp("", "bivouac-build-"); err != nil {
		return err
	}
	if isArchive(head) {
		return s.keep(buffered, name)
	}
	if !mayBeDockerfile {
		return usageErrorf("%s is not a tar archive, in which --file would be looked for; give a directory as the context", name)
	}
	if s.text, err = readDockerfile(buffered, name); err != nil {
		return err
	}
	s.path, s.isDir = filepath.Join(s.temporary, "empty"), true
	return os.Mkdir(s.path, 0o755)
}

// keep writes an archive to a temporary file.
func (s *buildSource) keep(r io.Reader, name string) error {
	s.path = filepath.Join(s.temporary, "context.tar")
	file, err := os.Create(s.path)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, r)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("keep the context that %s gives: %w", name, err)
	}
	return nil
}

// isArchive knows tar archives, also compressed ones, by how they begin.
func isArchive(head []byte) bool {
	for _, magic := range []string{"\x1f\x8b", "BZh", "\xfd7zXZ\x00", "\x28\xb5\x2f\xfd"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	const at = 257 // of the magic in a header (POSIX.1, ustar)
	return len(head) >= at+5 && string(head[at:at+5]) == "ustar"
}

func readDockerfile(r io.Reader, name string) (string, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxDockerfile+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("read a Dockerfile from %s: %w", name, err)
	case len(text) > maxDockerfile || !utf8.Valid(text):
		return "", usageErrorf("%s is neither a tar archive nor a Dockerfile; give one of them", name)
	case len(bytes.TrimSpace(text)) == 0:
		return "", usageErrorf("%s has no Dockerfile: it is empty; write one to it, or give a directory", name)
	}
	return string(text), nil
}

// findDockerfile reads one that is not in the context, and otherwise leaves that to the build.
func (f *buildFlags) findDockerfile(s *buildSource, stdin io.Reader, path string) (err error) {
	switch {
	case f.file == "":
		return nil
	case f.file == "-":
		s.text, err = readDockerfile(stdin, "the standard input")
		return err
	case !s.isDir || strings.HasPrefix(path, "http"):
		s.dockerfile = f.file
		return nil
	}
	file, err := filepath.Abs(f.file)
	if err != nil {
		return err
	}
	if inside, err := filepath.Rel(s.path, file); err == nil && filepath.IsLocal(inside) {
		s.dockerfile = inside
		return nil
	}
	return s.readOutside(file)
}

func (s *buildSource) readOutside(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return usageErrorf("--file %s: there is no such file; give the path of the Dockerfile", printable(path))
	}
	if !info.Mode().IsRegular() {
		return usageErrorf("--file %s: is no file; give the path of the Dockerfile", printable(path))
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	s.text, err = readDockerfile(file, path)
	return err
}
