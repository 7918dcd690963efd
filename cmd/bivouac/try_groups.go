package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// unmappedID is what the kernel shows for an id without a mapping (/proc/sys/kernel/overflowuid).
const unmappedID = 65534

// tellUnchangeable says where the command could change nothing though its user can: in a directory of a user or a group
// without a number in the command's user namespace every change fails (EOVERFLOW). It looks at the working directory, and at
// the paths among the arguments.
func (t *tried) tellUnchangeable(w io.Writer, dir string, args []string) {
	var told []string
	for _, p := range append([]string{dir}, args...) {
		p, err := directoryOf(dir, p)
		if err != nil || slices.ContainsFunc(told, func(above string) bool { return liesIn(p, above) }) {
			continue // no path, or said
		}
		if why := t.whyUnchangeable(p); why != "" {
			told = append(told, p)
			fmt.Fprintf(w, "bivouac: the command could change nothing in %s, because %s\n", printable(p), why)
		}
	}
}

// directoryOf returns the directory that a path leads to or into, without symlinks.
func directoryOf(dir, p string) (string, error) {
	if !filepath.IsAbs(p) {
		p = filepath.Join(dir, p)
	}
	real, err := filepath.EvalSymlinks(p)
	if err != nil {
		return "", err
	}
	if st, err := os.Stat(real); err == nil && st.IsDir() {
		return real, nil
	}
	return filepath.Dir(real), nil
}

func (t *tried) whyUnchangeable(dir string) string {
	var st unix.Stat_t
	info, err := t.lstat(dir)
	if err != nil || unix.Access(dir, unix.W_OK) != nil || unix.Lstat(dir, &st) != nil {
		return ""
	}
	seen, ok := info.Sys().(*sandbox.FileSys)
	switch {
	case !ok, seen.UID != unmappedID && seen.GID != unmappedID:
		return ""
	case seen.UID == unmappedID || !isFurtherGroup(st.Gid):
		return "it belongs to another user"
	}
	group := groupName(st.Gid)
	return fmt.Sprintf("its group %s is not your primary one; try it as that group: sg %s -c 'BIVOUAC_IDMAP=single bivouac try ...'", group, group)
}

func isFurtherGroup(gid uint32) bool {
	groups, err := os.Getgroups()
	return err == nil && slices.Contains(groups, int(gid))
}

func groupName(gid uint32) string {
	if g, err := user.LookupGid(int(gid)); err == nil {
		return printable(g.Name)
	}
	return strconv.FormatUint(uint64(gid), 10)
}
