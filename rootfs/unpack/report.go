package unpack

import (
	"fmt"
	"strings"
)

// Report tells what a layer held and what of it was not applied as written.
type Report struct {
	Entries int   // headers of the archive, whiteouts included
	Bytes   int64 // content of regular files, holes included

	Devices Omission // device nodes, left out: a user namespace cannot make them
	Unowned Omission // with Single: symlinks and fifos whose owner is lost
	Reowned Omission // with IgnoreChownErrors: entries given to another owner
	Xattrs  Omission // attributes that were not set, as "NAME on PATH"
	Unnamed Omission // directories like those of Implied, too many to list

	// Implied are directories that the layer uses without describing them, by
	// name. They have mode 0755 and owner 0:0; [Parents] mends what they hide.
	Implied []string
}

// Notes are the lines that a user should see, in a fixed order.
func (r Report) Notes() []string {
	var notes []string
	for _, n := range []struct {
		what string
		o    Omission
	}{
		{"left out %d device nodes: %s", r.Devices},
		{"lost the owner of %d symlinks and fifos, which cannot record it with a single id: %s", r.Unowned},
		{"gave %d files of unmapped owners to another owner: %s", r.Reowned},
		{"dropped %d extended attributes: %s", r.Xattrs},
		{"gave %d directories that the layer does not describe mode 0755: %s", r.Unnamed},
	} {
		if n.o.Count > 0 {
			notes = append(notes, fmt.Sprintf(n.what, n.o.Count, n.o))
		}
	}
	return notes
}

// maxFirst bounds the names that an Omission keeps.
const maxFirst = 5

// Omission is a number of things and the names of the first few.
type Omission struct {
	Count int
	First []string `json:",omitempty"`
}

// Add counts one more.
func (o *Omission) Add(name string) {
	o.Count++
	if len(o.First) < maxFirst {
		o.First = append(o.First, name)
	}
}

// String lists the first names, quoted, and says if there are more.
func (o Omission) String() string {
	var b strings.Builder
	for i, name := range o.First {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", name)
	}
	if o.Count > len(o.First) {
		b.WriteString(", ...")
	}
	return b.String()
}
