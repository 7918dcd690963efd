// Package tree reads and writes the files of a container from outside, while its programs may do the same with ill intent.
//
// Everything is reached through open handles: a path is resolved below the container's root by the kernel (openat2(2)
// with RESOLVE_IN_ROOT, or the same step by step where that is forbidden), symlinks included, and whatever is done then is
// done to a handle, or to one name in an open directory without following it. So a program that swaps directories against
// symlinks can lead astray inside its own files, and nowhere else. Only regular files and directories are opened, after
// a look at what they are: to open a fifo would wait, to open a device is an order to its driver.
package tree
