package sandbox

import (
	"context"
	"fmt"
	"io"
)

// Export returns a tar stream of the container's root file system without what is mounted in it, whether its program runs or not.
// It is otherwise as that of [Container.CopyFrom].
//
// Errors: those of CopyFrom.
func (ct *Container) Export(ctx context.Context) (io.ReadCloser, error) {
	request := CopyRequest{ContainerRequest: ct.request(), Path: []byte("/"), Unmounted: true}
	return ct.client.openArchive(ctx, fmt.Sprintf("export container %s", ct.Name), KindCopyFrom, request)
}
