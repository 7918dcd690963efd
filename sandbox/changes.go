package sandbox

import "context"

// ChangeKind says how a path differs from the image, by the letters of `docker diff`.
type ChangeKind string

// The kinds of changes.
const (
	ChangeAdded    ChangeKind = "A"
	ChangeModified ChangeKind = "C"
	ChangeDeleted  ChangeKind = "D"
)

// Change is a path of a container that differs from its image.
type Change struct {
	Path string // absolute; any bytes but NUL
	Kind ChangeKind
}

// String is like a line of `docker diff`.
func (c Change) String() string { return string(c.Kind) + " " + c.Path }

// Changes lists what the container's root file system differs in from its image, sorted by path, whether the program runs
// or not. What lies on mounts is not listed, nor what was made for the container (its system files, mount points and working
// directory). A directory is changed if its own mode, owner or modification time is; a file that was only opened or
// given what it had is not. With host: the image is the machine's root.
//
// Errors: CodeTooLarge for more than a million changes; CodeAlreadyFinished after Discard.
func (ct *Container) Changes(ctx context.Context) ([]Change, error) {
	var a ChangesAnswer
	if err := ct.client.ask(ctx, KindChanges, ChangesRequest{ct.request()}, &a); err != nil {
		return nil, err
	}
	changes := make([]Change, len(a.Changes))
	for i, c := range a.Changes {
		changes[i] = Change{string(c.Path), c.Kind}
	}
	return changes, nil
}
