package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/moby/go-archive"
)

// archiveTree writes the upper directory of an overlay as an uncompressed layer: what was removed and what was
// replaced becomes whiteouts and opaque directories. No time is later than epoch.
func archiveTree(dir, path string) (err error) {
	stream, err := archive.TarWithOptions(dir, &archive.TarOptions{WhiteoutFormat: archive.OverlayWhiteoutFormat})
	if err != nil {
		return fmt.Errorf("archive %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := date(tar.NewWriter(file), tar.NewReader(stream)); err != nil {
		return fmt.Errorf("archive %s: %w", dir, err)
	}
	return nil
}

// date copies an archive, and dates entries epoch that have a later time or one that building it again would change.
func date(to *tar.Writer, from *tar.Reader) error {
	for {
		header, err := from.Next()
		if errors.Is(err, io.EOF) {
			return to.Close()
		}
		if err != nil {
			return err
		}
		if header.ModTime.After(epoch) || header.ModTime.Unix() <= 0 {
			header.ModTime = epoch
		}
		if header.Typeflag == tar.TypeReg {
			header.Linkname = "" // the kernel's whiteouts are one file with many names
		}
		if err := to.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.Copy(to, from); err != nil {
			return err
		}
	}
}
