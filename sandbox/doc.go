// Package sandbox starts containers through a keeper and talks with them.
//
// A [Client] owns one keeper: a process of the bivouac command that is root of its own user namespace and pid 1 of its
// own pid namespace. Everything that a client starts lives below its keeper, so the kernel ends all of it when the
// client is closed or its process dies, however it dies.
//
//	client, err := sandbox.Start(ctx, sandbox.Options{})
//	defer client.Close()
//	container, err := client.Run(ctx, sandbox.Spec{Image: "docker.io/library/busybox", Args: []string{"true"}}, sandbox.Streams{}, nil)
//	exit, err := container.Wait(ctx)
//
// A program's exit status is data ([Exit]); an error is about the infrastructure. The package is pure Go, works with
// CGO_ENABLED=0, and never changes the calling process.
package sandbox
