package main

import (
	"strings"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
)

// imageNames tells by which names listings show the images of containers. It asks the store once for each name.
type imageNames struct {
	store *rootfs.Store
	ids   map[string]string
}

// of is the image as it was asked for, as in Docker, or its id where that name is another image's meanwhile, or nobody's.
// Unless it is wanted in full, a digest is left out and an id is a short one.
func (n *imageNames) of(r *sandbox.Record, full bool) string {
	asked := askedImage(r)
	ref, err := rootfs.ParseReference(asked)
	switch {
	case r.Image.ID == "" || err == nil && ref.Transport != rootfs.Registry && ref.Transport != rootfs.Stored:
		return imageName(r.Image.Name)
	case full && n.idOf(asked, r) == r.Image.ID:
		return asked
	case full:
		return printable(r.Image.ID)
	case n.idOf(asked, r) != r.Image.ID || ref.Transport == rootfs.Stored:
		return printable(shortOf(r.Image.ID))
	}
	name, _, _ := strings.Cut(asked, "@")
	return imageName(name)
}

// idOf is the id of what has a name, or the id of the container's image if the store cannot be asked.
func (n *imageNames) idOf(asked string, r *sandbox.Record) string {
	key := asked + " " + r.Spec.Get.Platform
	if id, known := n.ids[key]; known {
		return id
	}
	if n.store == nil {
		store, err := openStore()
		if err != nil {
			return r.Image.ID
		}
		n.store, n.ids = store, map[string]string{}
	}
	found, err := n.store.Inspect(asked, r.Spec.Get.Platform)
	if err != nil && !isAbsent(err) {
		return r.Image.ID
	}
	n.ids[key] = found.ID.String()
	return n.ids[key]
}

// askedImage is the image that a container was asked to be made from.
func askedImage(r *sandbox.Record) string {
	if r.Spec.Image == "" {
		return imageName(r.Image.Name)
	}
	return printable(r.Spec.Image)
}
