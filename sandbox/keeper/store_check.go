package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/volume"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
	"github.com/bivouac-run/bivouac/snapshot"
)

// checkStore answers with what is wrong with the store.
func (s *server) checkStore(ctx context.Context, k *keeper, m *wire.Message) outcome {
	var r sandbox.CheckStoreRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	a := s.asker(ctx, m.ID)
	c := &storeCheck{k: k, ctx: ctx, repair: r.Repair}
	for _, part := range []func() error{c.rests, c.names, c.containers, c.volumes, c.snapshots} {
		if err := part(); err != nil {
			return outcome{err: fmt.Errorf("check store: %w", err)}
		}
	}
	checked, problems, err := k.store.Check(ctx, r.Repair, k.needs, func(e rootfs.Event) { a.progress(progressOf(e)) })
	if err != nil {
		return outcome{err: err}
	}
	for _, p := range problems {
		c.out.Problems = append(c.out.Problems, sandbox.StoreProblem{Kind: p.Kind, Name: p.Name, Text: p.Text, Repaired: p.Repaired})
	}
	c.out.Checked += checked
	return outcome{body: c.out}
}

// storeCheck is one check under way.
type storeCheck struct {
	k      *keeper
	ctx    context.Context
	repair bool
	out    sandbox.StoreCheck
}

// found notes a problem, and mends it if that is asked for.
func (c *storeCheck) found(kind, name, text string, mend func() error) {
	p := sandbox.StoreProblem{Kind: kind, Name: name, Text: text}
	if c.repair {
		if err := mend(); err != nil {
			p.Text += "; it could not be mended: " + err.Error()
		} else {
			p.Repaired = true
		}
	}
	c.out.Problems = append(c.out.Problems, p)
}

// names looks for names of no container.
func (c *storeCheck) names() error {
	links, err := readDirIfThere(filepath.Join(c.k.containersDir(), sandbox.NamesDir))
	for _, e := range links {
		free, err := c.k.isFree(e.Name())
		if err != nil {
			return err
		}
		if free {
			c.found("leftover", e.Name(), "the name belongs to no container", func() error {
				return c.k.alone(func() error { return c.k.checkFree(e.Name()) })
			})
		}
	}
	return err
}

// rests looks for directories that are no containers and that nobody has at hand.
func (c *storeCheck) rests() error {
	dirs, err := readDirIfThere(c.k.containersDir())
	for _, e := range dirs {
		if !sandbox.IsContainerID(e.Name()) {
			continue
		}
		dir := filepath.Join(c.k.containersDir(), e.Name())
		if lock := c.k.lockRest(dir); lock != nil {
			_ = lock.Close() // the sweep takes it
			c.found("leftover", e.Name(), "files of a container that was not finished, or not removed", func() error {
				c.k.sweepContainer(dir)
				return stillThere(dir)
			})
		}
	}
	return err
}

// readDirIfThere is nothing for a directory that is not there.
func readDirIfThere(dir string) ([]os.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}

func stillThere(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return errors.New("it is still there")
	}
	return nil
}

// containers looks whether each has a record that can be read, an image and its files.
func (c *storeCheck) containers() error {
	records, err := sandbox.Records()
	for _, r := range records {
		c.out.Checked++
		if r.IDMap == "" {
			c.found("container", r.Name, r.Failure, func() error { return c.remove(r.ID) })
			continue
		}
		upper := filepath.Join(c.k.containersDir(), r.ID, "upper")
		if st, err := os.Lstat(upper); err != nil || !st.IsDir() {
			c.found("container", r.Name, "the directory of its changed files is missing", func() error { return c.remove(r.ID) })
		}
	}
	return err
}

// remove removes a container of which nothing is to be had.
func (c *storeCheck) remove(id string) error {
	rec, err := c.k.lockRecord(c.ctx, id)
	if err != nil {
		return err
	}
	defer rec.close()
	return c.k.erase(rec)
}

// volumes looks whether the record of each can be read. A volume's files are never removed here.
func (c *storeCheck) volumes() error {
	dirs, err := readDirIfThere(filepath.Join(c.k.home, "volumes"))
	if err != nil {
		return err
	}
	for _, e := range dirs {
		if volume.CheckName(e.Name()) != nil || !e.IsDir() {
			continue
		}
		c.out.Checked++
		if _, err := c.k.volumes.Get(e.Name()); err != nil && toWireCode(err) != sandbox.CodeNotFound {
			c.found("volume", e.Name(), err.Error(), func() error {
				return errors.New("its files may be wanted: look at them, then remove it yourself")
			})
		}
	}
	return nil
}

// snapshots looks at each seal.
func (c *storeCheck) snapshots() error {
	dirs, _ := os.ReadDir(filepath.Join(c.k.home, "snapshots")) // none before the first
	for _, d := range dirs {
		s, err := snapshot.Open(filepath.Join(c.k.home, "snapshots", d.Name()))
		if err != nil {
			return err
		}
		list, err := s.List()
		if err != nil {
			return err
		}
		for _, sn := range list {
			c.out.Checked++
			if err := sn.Verify(c.ctx); err != nil {
				if c.ctx.Err() != nil {
					return err
				}
				id := sn.Meta().ID
				c.found("snapshot", id, err.Error(), func() error { return s.Remove(id) })
			}
		}
	}
	return nil
}
