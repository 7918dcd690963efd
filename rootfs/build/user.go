package build

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"

	"github.com/moby/sys/user"

	"github.com/bivouac-run/bivouac/rootfs/handle"
)

// maxAccounts bounds what is read of a container's passwd and group files, in bytes.
const maxAccounts = 8 << 20

// userOf reads USER[:GROUP], names or numbers, by the accounts of the root. A number without a group is also the group's. Nil is for
// an empty text.
func (t *target) userOf(text string) (*handle.Owner, error) {
	if text == "" {
		return nil, nil
	}
	name, group, hasGroup := strings.Cut(text, ":")
	if name == "" {
		name = "0"
	}
	uid, gid, err := t.findUser(name)
	if err != nil {
		return nil, err
	}
	if hasGroup && group != "" {
		if gid, err = t.findGroup(group); err != nil {
			return nil, err
		}
	}
	return &handle.Owner{UID: uid, GID: gid}, nil
}

func (t *target) findUser(name string) (uid, gid uint32, err error) {
	if id, err := parseID(name); err == nil {
		return id, id, nil
	}
	users, err := user.ParsePasswdFilter(t.accounts("etc/passwd"), func(u user.User) bool { return u.Name == name })
	if err != nil {
		return 0, 0, fmt.Errorf("read /etc/passwd of the image: %w", err)
	}
	if len(users) == 0 {
		return 0, 0, fmt.Errorf("unknown user %q: the image's /etc/passwd does not have it; write a number, or make the user before", name)
	}
	if uid, err = toID(users[0].Uid); err != nil {
		return 0, 0, err
	}
	gid, err = toID(users[0].Gid)
	return uid, gid, err
}

func (t *target) findGroup(name string) (uint32, error) {
	if id, err := parseID(name); err == nil {
		return id, nil
	}
	groups, err := user.ParseGroupFilter(t.accounts("etc/group"), func(g user.Group) bool { return g.Name == name })
	if err != nil {
		return 0, fmt.Errorf("read /etc/group of the image: %w", err)
	}
	if len(groups) == 0 {
		return 0, fmt.Errorf("unknown group %q: the image's /etc/group does not have it; write a number, or make the group before", name)
	}
	return toID(groups[0].Gid)
}

// accounts is the content of a file of the root, empty if there is none.
func (t *target) accounts(name string) *bytes.Reader {
	f := &folder{name: "the image", root: t.root}
	content, err := f.read(name, maxAccounts)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		content = nil // a device or the like: nobody is known
	}
	return bytes.NewReader(content)
}

func parseID(text string) (uint32, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil || id == math.MaxUint32 {
		return 0, fmt.Errorf("%q is no id", text)
	}
	return uint32(id), nil
}

func toID(n int) (uint32, error) {
	if n < 0 || n >= math.MaxUint32 {
		return 0, fmt.Errorf("id %d of the image's accounts cannot be", n)
	}
	return uint32(n), nil
}

// isNumeric is true for owners that need no accounts.
func isNumeric(text string) bool {
	for part := range strings.SplitSeq(text, ":") {
		if _, err := parseID(part); err != nil && part != "" {
			return false
		}
	}
	return true
}
