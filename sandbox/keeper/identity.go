package keeper

import (
	"errors"
	"io"
	"os"
	"strings"
	"syscall"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"github.com/moby/sys/user"

	"github.com/bivouac-run/bivouac/sandbox"
)

// identity is who the program is inside its container.
type identity struct {
	uid, gid int
	groups   []int
	home     string
}

// resolveIdentity looks USER[:GROUP] up in the image's own /etc/passwd and /etc/group, below root. Both are read through
// handles, so that an image's symlink cannot make the keeper read a file of the host. The groups of also, names or numbers, add
// to the user's.
func resolveIdentity(root, spec string, also []string) (*identity, error) {
	passwd, err := readInside(root, "etc/passwd")
	if err != nil {
		return nil, err
	}
	group, err := readInside(root, "etc/group")
	if err != nil {
		return nil, err
	}
	u, err := user.GetExecUser(spec, &user.ExecUser{Home: "/"}, strings.NewReader(passwd), strings.NewReader(group))
	if err != nil {
		return nil, sandbox.Errorf(sandbox.CodeUnknownUser, "find user %q: %v", spec, err).
			WithRemedy("name a user of the image's /etc/passwd, or give numbers as UID:GID")
	}
	added, err := user.GetAdditionalGroups(also, strings.NewReader(group))
	if err != nil {
		return nil, sandbox.Errorf(sandbox.CodeUnknownUser, "find the groups %s: %v", strings.Join(also, ", "), err).
			WithRemedy("name groups of the image's /etc/group, or give numbers")
	}
	return &identity{uid: u.Uid, gid: u.Gid, groups: append(u.Sgids, added...), home: u.Home}, nil
}

// maxAccountFile bounds what is read of an image's account files.
const maxAccountFile = 16 << 20

// readInside returns a regular file's content, and nothing for a file that is not there. Symlinks lead inside root.
func readInside(root, name string) (string, error) {
	text, err := readRegular(root, name)
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return "", sandbox.Errorf(sandbox.CodeInvalid, "read /%s of the image: %v", name, err)
	}
	return text, nil
}

func readRegular(root, name string) (string, error) {
	handle, err := pathrs.OpenInRoot(root, name)
	if err != nil {
		return "", err
	}
	defer func() { _ = handle.Close() }()
	if info, err := handle.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", err
	}
	f, err := pathrs.Reopen(handle, os.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxAccountFile))
	return string(text), err
}
