// Package build makes an image of a Dockerfile: it reads the file and its contexts, decides what has to be done, does what needs
// no container itself (COPY, ADD, WORKDIR, the configuration) and has a [Worker] do the rest. What it has done once, in any
// build of the same store, it does not do again.
//
// # In the store
//
//	build/tmp/NAME/            what a build works on: upper directories, extracted contexts, downloads
//	build/tmp/NAME.lock        flock(2)ed by that build; what lies beside a free one, or none, was left by a killed build, and the
//	                           next one removes it
//	build/cache/KEY.json       the layer that a step made, by what it was made of, see [Entry]
//	build/hashes/HEX           digests of files that need not be read again: of a context's, by what stat(2) tells of them, and of
//	                           what was copied from other stages and images
//	build/mounts/HEX/data      a directory of RUN --mount=type=cache; mount.json beside it says whose it is
//
// Layers that an entry of the cache names are kept by the store as those of images are. Locks of entries and mounts are in the
// store's locks directory.
//
// # Keys
//
// The key of a step is a digest of the diff IDs that it stands on, of the instruction after expansion, of those parts of the
// configuration that it can see, and of the content of what it copies: names, modes, owners, contents, targets of links, no times.
// Values of secrets are in no key.
//
// # What is hostile
//
// Dockerfiles, contexts, archives and images. All files are reached by handle: those of a context without following symlinks out of
// it, those of a container's root as the container itself would see them. Nothing but regular files, directories and symlinks is
// copied, and only regular files are opened.
package build
