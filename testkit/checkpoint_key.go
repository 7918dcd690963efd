package testkit

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// keyVersion changes when testkit makes checkpoints of the same options in another way.
const keyVersion = "testkit 1"

// claimSpec is what the content key of a checkpoint is made of. It reads all files that the options name.
func (s *settings) claimSpec() (sandbox.ClaimSpec, error) {
	if len(s.volumes) > 0 {
		return sandbox.ClaimSpec{}, sandbox.Errorf(sandbox.CodeInvalid, "MountVolume: a volume belongs to one test, and what is prepared once to all of them").
			WithRemedy("leave the mount out, or checkpoint a container of the test")
	}
	parts := []string{keyVersion}
	if s.spec.Hostname != "" {
		parts = append(parts, "host name "+s.spec.Hostname) // programs write it into files, RabbitMQ into the names of files
	}
	if s.checkpoint.omitMounts {
		parts = append(parts, "omit mounts")
	}
	if n := len(s.checkpoint.quiesce); n > 0 {
		parts = append(parts, fmt.Sprintf("quiesce %d", n))
	}
	for _, strategy := range s.strategies {
		parts = append(parts, "ready "+strategy.String()) // it says at what moment the checkpoint is made
	}
	for _, step := range s.checkpoint.steps {
		parts = append(parts, "prepare "+step.key)
	}
	digests, err := s.digests()
	return sandbox.ClaimSpec{
		Spec: s.spec, Processes: s.checkpoint.processes, Quality: s.checkpoint.quality, Parts: append(parts, digests...),
	}, err
}

// digests are those of all content that the options name.
func (s *settings) digests() ([]string, error) {
	var all []content
	for _, source := range s.files {
		all = append(all, content{source.option, source.digest})
	}
	var parts []string
	for _, c := range append(all, s.checkpoint.content...) {
		digest, err := c.digest()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		parts = append(parts, c.name+" "+digest)
	}
	return parts, nil
}

// digest is that of what the source puts into a container, but for the time at which it does.
func (s source) digest() (string, error) {
	h := sha256.New()
	t := &tarball{w: tar.NewWriter(h), time: time.Unix(0, 0)}
	if err := errors.Join(s.write(t, s), t.w.Close()); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// digestPattern is that of all files that match a pattern, with their names and content.
func digestPattern(pattern string) (string, error) {
	names, err := filepath.Glob(pattern)
	if err != nil {
		return "", err
	}
	if len(names) == 0 {
		return "", sandbox.Errorf(sandbox.CodeInvalid, "there is no such file")
	}
	h := sha256.New()
	for _, name := range names {
		if err := hashPath(h, name); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hashPath adds a file, or all files of a directory.
func hashPath(h hash.Hash, name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if info.IsDir() {
		fmt.Fprintf(h, "%q\n", name)
		return hashTree(h, os.DirFS(name))
	}
	return hashFile(h, os.DirFS(filepath.Dir(name)), filepath.Base(name))
}

func digestTree(tree fs.FS) (string, error) {
	h := sha256.New()
	err := hashTree(h, tree)
	return hex.EncodeToString(h.Sum(nil)), err
}

func hashTree(h hash.Hash, tree fs.FS) error {
	return fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return hashFile(h, tree, name)
	})
}

// hashFile adds a file's name and content. What is neither a file nor leads to one has none.
func hashFile(h hash.Hash, tree fs.FS, name string) (err error) {
	info, err := fs.Stat(tree, name)
	if err != nil {
		return err
	}
	fmt.Fprintf(h, "%q %d\n", name, info.Size())
	if !info.Mode().IsRegular() {
		return nil
	}
	f, err := tree.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(h, f)
	return err
}
