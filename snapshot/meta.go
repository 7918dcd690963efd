package snapshot

import (
	"encoding/json"
	"regexp"
	"sync"
	"time"

	"github.com/bivouac-run/bivouac/rootfs"
)

// Meta says what is in a snapshot.
type Meta struct {
	// ID is 64 hexadecimal digits. The store sets it, and the other fields that it says so of, whatever is in them.
	ID string `json:"id"`
	// Name is for people, empty for none: a letter or digit, then up to 127 letters, digits, dots, dashes and underscores.
	Name string `json:"name,omitempty"`
	// Key is the content key, empty for none: the snapshot takes the place of others that have it.
	Key string `json:"key,omitempty"`

	// Created is when it was complete. The store sets it.
	Created time.Time `json:"created"`
	// Size is the bytes on disk of its own layers, trees and images. The store sets it.
	Size int64 `json:"size"`
	// MemorySize is the part of it that is images. The store sets it.
	MemorySize int64 `json:"memory_size,omitempty"`
	// HasImages tells whether there are images. The store sets it.
	HasImages bool `json:"has_images,omitempty"`

	// Trees are the contents of memory file systems.
	Trees []Tree `json:"trees,omitempty"`
	// Kernel, CPU and CRIU are what it was made with.
	Kernel string `json:"kernel,omitempty"`
	CPU    string `json:"cpu,omitempty"`
	CRIU   string `json:"criu,omitempty"`

	// Detail is the caller's own; the store keeps it as it is.
	Detail json.RawMessage `json:"-"`
}

// Tree is the content of a memory file system.
type Tree struct {
	Target string `json:"target"` // where it is mounted in the container
	N      int    `json:"n"`      // that of [Draft.Tree]
}

// The grammars are compiled when they are first needed: each start of a container is a start of this program.
var (
	nameGrammar = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`) })
	idGrammar   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-f]{64}$`) })
)

// maxKey is the length of the longest key, in bytes.
const maxKey = 1024

// check refuses what is no name or key.
func (m *Meta) check() error {
	if m.Name != "" && !nameGrammar().MatchString(m.Name) {
		return fail(Invalid, "use up to 128 letters, digits, dots, dashes and underscores, the first a letter or digit",
			"name a snapshot %q", m.Name)
	}
	if len(m.Key) > maxKey {
		return fail(Invalid, "", "a snapshot's key is %d bytes long, at most %d are allowed", len(m.Key), maxKey)
	}
	seen := map[int]bool{}
	for _, t := range m.Trees {
		if t.N < 0 || seen[t.N] {
			return fail(rootfs.BadArchive, "", "bad number %d of a snapshot's tree", t.N)
		}
		seen[t.N] = true
	}
	return nil
}
