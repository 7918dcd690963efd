// Package keeper is the process that holds containers: `bivouac keeper`.
//
// A keeper is uid 0 of its own user namespace and pid 1 of its own pid namespace, with its own mount namespace and the
// host's network. It pulls images, unpacks layers, mounts root file systems and drives libcontainer on behalf of the one
// caller at the other end of its socket. When the socket ends, the keeper exits, and the kernel ends everything below it.
//
// A container's configuration is computed by one pure function ([configure]). Its first process is this same binary,
// which installs the precompiled seccomp filters and becomes the program (init.c).
package keeper
