package sandbox

import (
	"io/fs"
	"syscall"
)

// The kinds of messages about the files of a container. What stat(2) and its kin fail with is an answer to these, not a
// failure. Paths and names are bytes: the kernel does not ask for UTF-8.
const (
	KindOpenFile  = "open-file"  // [FileRequest]; done: [FileAnswer] with Stat and, of a regular file, the open file
	KindStatFile  = "stat-file"  // [FileRequest]; done: [FileAnswer] with Stat
	KindListFiles = "list-files" // [FileRequest]; done: [FileAnswer] with Entries
	KindReadLink  = "read-link"  // [FileRequest]; done: [FileAnswer] with Link
	KindCopyTo    = "copy-to"    // [CopyRequest] and a pipe to read the archive from; done: nothing
	KindCopyFrom  = "copy-from"  // [CopyRequest] and a pipe to write the archive to; event KindCopying; done: nothing
	KindCopying   = "copying"    // there is what was asked for, and the archive is on its way
	KindChanges   = "changes"    // [ChangesRequest]; done: [ChangesAnswer]
)

// FileRequest asks about one file.
type FileRequest struct {
	ContainerRequest
	// Path is absolute in the container.
	Path []byte `json:"path"`
	// NoFollow means the symlink that the path may end in.
	NoFollow bool `json:"no_follow,omitempty"`
}

// FileAnswer is what was asked for, or the number of the system's error.
type FileAnswer struct {
	Errno   syscall.Errno `json:"errno,omitempty"`
	Stat    *FileStat     `json:"stat,omitempty"`
	Entries []FileStat    `json:"entries,omitempty"`
	Link    []byte        `json:"link,omitempty"`
}

// FileStat describes a file.
type FileStat struct {
	// Name is the file's own, "." for the root.
	Name []byte      `json:"name"`
	Mode fs.FileMode `json:"mode"`
	Size int64       `json:"size"`
	// ModSeconds since 1970 and ModNanoseconds are the time of the last modification.
	ModSeconds     int64 `json:"mtime"`
	ModNanoseconds int64 `json:"mtime_nsec"`
	FileSys
}

// FileSys is what fs.FileInfo.Sys returns, as a pointer, for files of a container.
type FileSys struct {
	// UID and GID own the file, as the container sees it.
	UID uint32 `json:"uid"`
	GID uint32 `json:"gid"`
	// Links is the number of names that the file has.
	Links uint64 `json:"links"`
	// Major and Minor are the numbers of a device node, 0 for others.
	Major uint32 `json:"major,omitempty"`
	Minor uint32 `json:"minor,omitempty"`
}

// CopyRequest copies files into or out of a container.
type CopyRequest struct {
	ContainerRequest
	// Path is absolute in the container.
	Path []byte `json:"path"`
	// Unmounted means the root file system without what is mounted in it.
	Unmounted bool `json:"unmounted,omitempty"`
}

// ChangesRequest asks what a container's files differ in from its image.
type ChangesRequest struct{ ContainerRequest }

// ChangesAnswer lists them, sorted by path.
type ChangesAnswer struct {
	Changes []WireChange `json:"changes,omitempty"`
}

// WireChange is a [Change] whose path may be any bytes.
type WireChange struct {
	Path []byte     `json:"path"`
	Kind ChangeKind `json:"kind"`
}
