// Package pack makes the tar stream of an image layer out of an overlay's upper directory: the inverse of package unpack.
//
// Equal directories give equal streams: names are sorted, the files of a directory before its directories, and nothing
// depends on inodes, the machine, or when files were read. Times are whole seconds, as other tools write them.
//
//   - A whiteout, in either of overlayfs's forms, becomes an entry ".wh.NAME", an opaque directory gets ".wh..wh..opq".
//   - Extended attributes are those that unpack takes: user.* without overlayfs's and ours, and file capabilities.
//   - With a single id the owner is what the attribute user.rootlesscontainers says.
//   - The second and further names of a file are hard links to the first.
//   - Sockets are left out, as are names that would be taken for whiteouts.
//   - Large files with holes have entries of GNU's sparse format 1.0.
//
// The directory may belong to a running program that is no friend: every file is reached through open handles, no symlink
// is followed, nothing but regular files and directories is opened, and a file that changes its size meanwhile is cut or
// filled up with zeros.
package pack
