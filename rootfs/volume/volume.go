// Package volume keeps the volumes of a store: directories that containers share and that outlive them.
//
// A volume is the directory volumes/NAME of the store:
//
//	volume.json  what it is; never changed
//	_data        its files, in the ids of containers
//	users/ID     one file for each container that has it
//	lock         held for the moment in which a user comes or the volume goes
//	fill         held while files of an image are copied into it
//
// A user that is gone does not count: the file of a container that is kept counts as long as that has a record below
// containers/ID, and every file as long as a process holds its lock.
package volume

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
)

// InUse is the code of a failure to remove a volume that containers have.
const InUse rootfs.Code = "in-use"

// Invalid is the code of a name that is none, and of a volume that does not fit the request.
const Invalid rootfs.Code = "invalid"

const (
	recordName   = "volume.json"
	dataName     = "_data"
	usersName    = "users"
	lockName     = "lock"
	fillLockName = "fill"
)

// Store is the volumes of one user. Any number of processes may use one at once; its methods may be called concurrently.
type Store struct {
	dir, containers string
	key             string
}

// Open returns the volumes of the store in home. The key names the mapping of ids that files are made in. Nothing is made
// before the first volume.
func Open(home, key string) *Store {
	return &Store{dir: filepath.Join(home, "volumes"), containers: filepath.Join(home, "containers"), key: key}
}

// Record is what a volume says of itself.
type Record struct {
	Name    string            `json:"name"`
	Created time.Time         `json:"created"`
	Labels  map[string]string `json:"labels,omitempty"`
	// Anonymous tells that it was made without a name.
	Anonymous bool `json:"anonymous,omitempty"`
	// Ephemeral tells that it goes with its last user.
	Ephemeral bool `json:"ephemeral,omitempty"`
	// IDs names the mapping of ids that its files belong to.
	IDs string `json:"ids"`
}

// Volume is one that is there.
type Volume struct {
	Record
	store *Store
}

// Data is the directory of its files, absolute.
func (v *Volume) Data() string { return filepath.Join(v.dir(), dataName) }

func (v *Volume) dir() string { return filepath.Join(v.store.dir, v.Name) }

// CheckName refuses what is no name by Docker's rules: two or more of letters, digits, '_', '.' and '-', the first of which is
// a letter or digit.
//
// Errors: Invalid.
func CheckName(name string) error {
	if len(name) < 2 || len(name) > 255 || strings.ContainsFunc(name, isForeign) || !isAlphanumeric(rune(name[0])) {
		return fail(Invalid, "use at least two letters, digits, '_', '.' or '-', a letter or digit first", "name a volume %q: not a valid name", name)
	}
	return nil
}

func isAlphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

func isForeign(r rune) bool { return !isAlphanumeric(r) && r != '_' && r != '.' && r != '-' }

// Get returns a volume.
//
// Errors: NotFound; Invalid for what is no name; BadConfig for one whose record is damaged.
func (s *Store) Get(name string) (*Volume, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(s.dir, name, recordName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notFound(name)
	}
	if err != nil {
		return nil, fmt.Errorf("read volume %s: %w", name, err)
	}
	v := &Volume{store: s}
	if err := json.Unmarshal(text, &v.Record); err != nil || v.Name != name {
		return nil, fail(rootfs.BadConfig, "remove it: bivouac volume rm "+name, "read volume %s: its %s is damaged", name, recordName)
	}
	return v, nil
}

// List returns all volumes that can be read, by name. What lies in the directory and is no volume is left out.
func (s *Store) List() ([]*Volume, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	var list []*Volume
	for _, e := range entries {
		if v, err := s.Get(e.Name()); err == nil {
			list = append(list, v)
		}
	}
	return list, nil
}

// Usable refuses a volume whose files belong to another mapping of ids than this store's.
//
// Errors: Invalid.
func (v *Volume) Usable() error {
	if v.IDs == v.store.key {
		return nil
	}
	return fail(Invalid, "put the mapping back as it was (/etc/subuid, /etc/subgid), or remove the volume: bivouac volume rm "+v.Name,
		"use volume %s: its files belong to another mapping of ids than there is", v.Name)
}

func notFound(name string) error {
	return fail(rootfs.NotFound, "see bivouac volume ls", "find volume %q: there is none of that name", name)
}

// fail makes a coded error; its arguments after the remedy are fmt.Errorf's.
func fail(code rootfs.Code, remedy, format string, args ...any) error {
	return &rootfs.Error{Code: code, Err: fmt.Errorf(format, args...), Remedy: remedy}
}

// full gives the error of a full file system its code.
func full(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return &rootfs.Error{Code: rootfs.NoSpace, Err: err, Remedy: "make room there, or set BIVOUAC_HOME to a directory on a larger file system"}
	}
	return err
}

// step marks the points between two changes of the store. Tests end the process there.
var step = func(string) {}
