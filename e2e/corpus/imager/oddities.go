package main

import (
	"archive/tar"
	"fmt"
)

// An entry is a file of an odd layer. What is not set there is set by archive.
type entry struct {
	tar.Header
	content string
}

// An oddity is an image of the layout odd: layers on top of busybox, with what images rarely hold.
type oddity struct {
	tag    string
	layers [][]entry
}

// oddities lists the odd images. Everything in them is below /odd.
func oddities() []oddity {
	return []oddity{
		{tag: "layers", layers: manyLayers(127 - 1)}, // with busybox's own as many as Docker allows
		{tag: "devices", layers: [][]entry{devices}},
		{tag: "links", layers: [][]entry{links}},
		{tag: "uids", layers: [][]entry{highOwners}},
		{tag: "xattrs", layers: [][]entry{foreignXattrs}},
		{tag: "whiteouts", layers: [][]entry{beforeWhiteouts, whiteouts}},
	}
}

// devices are entries that an unprivileged user cannot create.
var devices = []entry{
	directory("odd/"),
	{Header: tar.Header{Typeflag: tar.TypeChar, Name: "odd/null", Mode: 0o666, Devmajor: 1, Devminor: 3}},
	{Header: tar.Header{Typeflag: tar.TypeBlock, Name: "odd/loop", Mode: 0o660, Devmajor: 7, Devminor: 0}},
	{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "odd/fifo", Mode: 0o644}},
	file("odd/file", 0o644, "beside devices\n"),
}

// links are programs that are setuid and setgid, and several names of one file.
var links = []entry{
	directory("odd/"),
	file("odd/setuid", 0o4755, "#!/bin/sh\nid -u\n"),
	file("odd/setgid", 0o2755, "#!/bin/sh\nid -g\n"),
	{Header: tar.Header{Typeflag: tar.TypeDir, Name: "odd/sticky/", Mode: 0o1777}},
	file("odd/first", 0o600, "one file\n"),
	{Header: tar.Header{Typeflag: tar.TypeLink, Name: "odd/second", Linkname: "odd/first"}},
	{Header: tar.Header{Typeflag: tar.TypeLink, Name: "odd/sticky/third", Linkname: "/odd/first"}},
	{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: "odd/symlink", Linkname: "first", Mode: 0o777}},
	{Header: tar.Header{Typeflag: tar.TypeLink, Name: "odd/symlink2", Linkname: "odd/symlink"}},
}

// highOwners has a file whose owner is above the 65536 ids that a user has as a rule.
var highOwners = []entry{
	directory("odd/"),
	{Header: tar.Header{Typeflag: tar.TypeReg, Name: "odd/high", Mode: 0o644, Uid: 200000, Gid: 200000}, content: "high\n"},
}

// foreignXattrs has attributes of other machines and of other software, most of which a user must not set.
var foreignXattrs = []entry{
	directory("odd/"),
	withXattrs(file("odd/file", 0o644, "attributes\n"), map[string]string{
		"user.comment":             "kept",
		"user.overlay.opaque":      "y",
		"trusted.overlay.redirect": "/etc",
		"security.selinux":         "system_u:object_r:bin_t:s0\x00",
		"security.ima":             "\x04\x04",
		"system.posix_acl_access":  "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff",
		"com.apple.quarantine":     "0081;",
		"user.rootlesscontainers":  "\x08\x01",
	}),
	withXattrs(file("odd/capable", 0o755, "#!/bin/sh\n"), map[string]string{
		// struct vfs_cap_data of version 2: CAP_NET_RAW, effective
		"security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
	}),
}

var beforeWhiteouts = []entry{
	directory("odd/"), directory("odd/removed/"), directory("odd/opaque/"), directory("odd/kept/"),
	file("odd/removed/file", 0o644, "removed\n"),
	file("odd/opaque/lower", 0o644, "hidden\n"),
	file("odd/kept/file", 0o644, "kept\n"),
	file("odd/replaced", 0o644, "by a directory\n"),
	file("odd/removed-file", 0o644, "removed\n"),
}

// whiteouts of files, of a directory, of nothing; an opaque directory; a directory in the place of a file.
var whiteouts = []entry{
	directory("odd/"), directory("odd/opaque/"), directory("odd/replaced/"),
	file("odd/opaque/upper", 0o644, "seen\n"), // before the marker, which does not concern it
	file("odd/opaque/.wh..wh..opq", 0o644, ""),
	file("odd/.wh.removed", 0o644, ""),
	file("odd/.wh.removed-file", 0o644, ""),
	file("odd/.wh.never-was", 0o644, ""),
	file("odd/replaced/file", 0o644, "in a directory\n"),
}

// manyLayers returns n layers, each of which replaces /odd/top and adds a file of its own.
func manyLayers(n int) [][]entry {
	layers := make([][]entry, n)
	for i := range layers {
		number := fmt.Sprintf("%03d", i+1)
		layers[i] = []entry{
			directory("odd/"), file("odd/top", 0o644, number+"\n"), file("odd/layer-"+number, 0o644, number+"\n"),
		}
	}
	return layers
}

func directory(name string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}}
}

func file(name string, mode int64, content string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode}, content: content}
}

func withXattrs(e entry, xattrs map[string]string) entry {
	e.PAXRecords = map[string]string{}
	for name, value := range xattrs {
		e.PAXRecords["SCHILY.xattr."+name] = value
	}
	return e
}
