// Package snapshot keeps checkpoints of containers: changed files as overlay layers, contents of memory file systems, and
// CRIU's images. It also copies the trees of files that they are made of.
//
// # The store
//
// A store is a directory, made when it is first written to:
//
//	by-id/ID/snapshot.json  what is in the snapshot, with its seal; a snapshot without this file is not there
//	by-id/ID/detail         what the caller has to say of it
//	by-id/ID/used           whose modification time is when it was last held, and whose flock(2) says that it is
//	by-id/ID/images/        CRIU's images
//	by-id/ID/trees/N/       contents of memory file systems
//	layers/ID-N/            changed files as a lower directory of overlayfs, made with the snapshot of that id
//	locks/                  locks of drafts, keys and the store, each only while it is held
//
// Everything is made where it stays: paths of a draft are those of the snapshot that it becomes, so containers may be made
// from it before it is listed. The rename of snapshot.json lists it, names it, and takes its name and key from any older
// one, all at once. A process that is killed before leaves a directory without that file, or a layer that no snapshot
// refers to, whose lock is free: the next draft or eviction removes both.
//
// A snapshot of a clone refers to the layers of its parent, which stay until the last one that refers to them is removed.
//
// Nothing is synced to disk: what a failure of power tears apart no longer fits its seal.
//
// # How it is used
//
//	d, err := store.Draft(ctx, parent) // parent is nil for a container that was made from an image
//	defer d.Discard()                  // does nothing once it is published
//	... fill d.Layer(), d.Images(), d.Tree(0) by CopyTree
//	sn, err := d.Finish(meta)          // good for clones, not listed
//	... hold, err := sn.Hold(); mount the image's layers and sn.Layers(); hold.Release()
//	err = sn.Publish()
package snapshot
