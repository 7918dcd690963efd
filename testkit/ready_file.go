package testkit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// FileStrategy is reached when there is a file in the container.
type FileStrategy struct {
	name     string
	contains string
}

// FileExists is reached when there is something at an absolute path of the container.
func FileExists(name string) FileStrategy { return FileStrategy{name: name} }

// Contains also waits until the file contains text.
func (f FileStrategy) Contains(text string) FileStrategy {
	f.contains = text
	return f
}

// WaitReady implements [Strategy].
func (f FileStrategy) WaitReady(ctx context.Context, c *Container) error {
	return poll(ctx, func(ctx context.Context) error {
		if f.contains == "" {
			_, err := fs.Stat(c.box.FS(ctx), inFS(f.name))
			return err
		}
		content, err := readFile(c.box.FS(ctx), f.name)
		if err == nil && !bytes.Contains(content, []byte(f.contains)) {
			err = fmt.Errorf("its %d bytes do not contain %q", len(content), f.contains)
		}
		return err
	})
}

// maxFile is how much of a file is looked at.
const maxFile = 8 << 20

// readFile returns the beginning of a file of the container.
func readFile(root fs.FS, name string) ([]byte, error) {
	f, err := root.Open(inFS(name))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// inFS makes an absolute path one of an [fs.FS].
func inFS(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if name == "" {
		return "."
	}
	return name
}

// String implements [Strategy].
func (f FileStrategy) String() string {
	if f.contains != "" {
		return fmt.Sprintf("file %s with %q", f.name, f.contains)
	}
	return "file " + f.name
}

func (f FileStrategy) traits() traits {
	t := traits{held: true}
	if !path.IsAbs(f.name) {
		t.problem = "needs an absolute path of the container"
	}
	return t
}
