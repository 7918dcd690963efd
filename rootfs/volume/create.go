package volume

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/aside"
	"github.com/bivouac-run/bivouac/rootfs/unpack"
)

// Options say what volume to make. The zero value makes an anonymous one.
type Options struct {
	// Name is empty for an anonymous one, which gets 64 hexadecimal digits.
	Name   string
	Labels map[string]string
	// User, if not nil, has the volume from its beginning on.
	User *User
	// Ephemeral has the volume removed with its last user.
	Ephemeral bool
}

// The names of what is being made or removed, which are no volumes'.
const (
	draftPrefix = ".new-"
	trashPrefix = ".gone-"
)

// Create makes a volume, or returns the one of that name, whatever its labels are. The use is the user's, nil without one.
//
// Errors: Invalid, NoSpace; InUse for one of that name that is to be ephemeral.
func (s *Store) Create(ctx context.Context, o Options) (v *Volume, use *Use, made bool, err error) {
	r := Record{Name: o.Name, Created: time.Now().UTC(), Labels: o.Labels, Anonymous: o.Name == "", Ephemeral: o.Ephemeral, IDs: s.key}
	if r.Anonymous {
		r.Name = randomHex()
	}
	if err := CheckName(r.Name); err != nil {
		return nil, nil, false, err
	}
	for range 100 { // what somebody else has made may be gone again
		if v, use, err = s.existing(ctx, r.Name, o); !errors.Is(err, rootfs.NotFound) {
			return v, use, false, err
		}
		v = &Volume{Record: r, store: s}
		use, err = s.make(v, o.User)
		if err == nil {
			return v, use, true, nil
		}
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, unix.ENOTEMPTY) {
			break
		}
	}
	return nil, nil, false, full(fmt.Errorf("make volume %s: %w", r.Name, err))
}

func (s *Store) existing(ctx context.Context, name string, o Options) (*Volume, *Use, error) {
	v, err := s.Get(name)
	if err == nil && o.Ephemeral {
		return nil, nil, fail(InUse, "choose another name", "make volume %s: there is one of that name", name)
	}
	if err != nil || o.User == nil {
		return v, nil, err
	}
	use, err := v.Use(ctx, *o.User)
	return v, use, err
}

// make puts everything of a volume into a draft, and gives that its name.
func (s *Store) make(v *Volume, user *User) (_ *Use, err error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	draft := filepath.Join(s.dir, draftPrefix+randomHex()[:16])
	use, err := s.draft(v, draft, user)
	if err == nil {
		step("draft made")
		err = os.Rename(draft, v.dir())
	}
	if err != nil {
		use.close()
		return nil, errors.Join(err, unpack.Remove(draft))
	}
	step("named")
	return use, aside.SyncDir(s.dir)
}

func (s *Store) draft(v *Volume, dir string, user *User) (*Use, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	text, err := json.Marshal(v.Record)
	if err != nil {
		return nil, err
	}
	if err := writeSynced(filepath.Join(dir, recordName), text); err != nil {
		return nil, err
	}
	for _, d := range []struct {
		name string
		mode os.FileMode
	}{{usersName, 0o700}, {dataName, 0o755}} {
		if err := os.Mkdir(filepath.Join(dir, d.name), d.mode); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(filepath.Join(dir, dataName), 0o755); err != nil {
		return nil, err
	}
	if user == nil {
		return nil, nil
	}
	return v.enter(filepath.Join(dir, usersName, user.ID), *user)
}

func writeSynced(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// randomHex returns 64 hexadecimal digits.
func randomHex() string {
	var b [32]byte
	rand.Read(b[:]) // never fails (crypto/rand, Go 1.24)
	return hex.EncodeToString(b[:])
}
