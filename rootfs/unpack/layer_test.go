package unpack

import (
	"strings"
	"testing"

	"github.com/bivouac-run/bivouac/rootfs/nstest"
)

// TestLayer is a table of archives and what they become. No "becomes" means
// that the tree is described by the same lines as the archive.
func TestLayer(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		for name, c := range map[string]struct{ archive, becomes, notes string }{
			"nothing": {},
			"kinds": {archive: `
				dir a
				file a/b data=hello
				link a/c a/b
				symlink a/d ../../nowhere
				fifo e`},
			"modes": {archive: `
				dir a mode=1777
				dir b mode=0
				dir b/c mode=2555
				file b/c/d mode=4755 data=x
				file b/e mode=0 data=x
				file b/f mode=6711
				fifo b/g mode=1600`},
			"implied directories": {archive: `file a/b/c`, becomes: `
				dir a
				dir a/b
				file a/b/c`},
			"names from the root": {archive: `
				file /a
				dir ./b/
				file ./b/../c
				file "b//d"
				link /e /a
				link f ./b/../b/d`, becomes: `
				file a
				dir b
				file b/d
				file c
				link e a
				link f b/d`},
			"root": {archive: `dir ./ mode=700`, becomes: `dir . mode=700`},
			"odd names": {archive: `
				file "a\nb"
				symlink "l\xff" "t\xff\n"
				file "\xff\xfe"`},
			"comment": {archive: `
				global x
				file a`, becomes: `file a`},
			"old and contiguous files": {archive: "type:\x00 a\ntype:7 b", becomes: "file a\nfile b"},
			"last one wins": {archive: `
				file a data=1
				file a data=2 mode=600
				dir d mode=700
				file d/x
				dir d mode=711
				symlink s 1
				symlink s 2
				fifo f
				fifo f mode=600`, becomes: `
				file a mode=600 data=2
				dir d mode=711
				file d/x
				fifo f mode=600
				symlink s 2`},
			"file replaces directory": {archive: `
				dir a
				dir a/b
				file a/b/c
				file a`, becomes: `file a`},
			"directory replaces file": {archive: `
				file a
				dir a
				file a/b`, becomes: `
				dir a user.overlay.opaque=y
				file a/b`},
			"directory replaces symlink": {archive: `
				dir real
				symlink a real
				file a/through
				dir a
				file a/b`, becomes: `
				dir a user.overlay.opaque=y
				file a/b
				dir real
				file real/through`},
			"symlink replaces directory": {archive: `
				dir real
				dir a
				file a/gone
				symlink a real
				file a/b`, becomes: `
				symlink a real
				dir real
				file real/b`},
			"file replaces symlink": {archive: `
				file real data=1
				symlink a real
				file a data=2`, becomes: `
				file a data=2
				file real data=1`},
			"link replaces file": {archive: `
				file a data=1
				file b data=2
				link b a`, becomes: `
				file a data=1
				link b a`},
			"link to itself": {archive: `
				file a data=1
				link b a
				link b a
				link a a
				link a b`, becomes: `
				file a data=1
				link b a`},
			"file replaces one name of two": {archive: `
				file a data=1
				link b a
				file b data=2`, becomes: `
				file a data=1
				file b data=2`},
			"whiteouts": {archive: `
				file .wh.a
				dir b
				file b/.wh.c
				file b/.wh..d
				file "c/.wh.e f"`, becomes: `
				whiteout a
				dir b
				whiteout b/.d
				whiteout b/c
				dir c
				whiteout "c/e f"`},
			"opaque": {archive: `
				dir a
				file a/.wh..wh..opq
				file a/b
				file c/.wh..wh..opq`, becomes: `
				dir a user.overlay.opaque=y
				file a/b
				dir c user.overlay.opaque=y`},
			"opaque root": {archive: `file .wh..wh..opq`, becomes: `dir . user.overlay.opaque=y`},
			"whiteout after its replacement": {archive: `
				file a
				file .wh.a
				dir b
				file b/c
				file .wh.b`, becomes: `
				file a
				dir b user.overlay.opaque=y
				file b/c`},
			"whiteout before its replacement": {archive: `
				file .wh.a
				file a
				file .wh.b
				dir b
				file .wh.c
				file c/implied`, becomes: `
				file a
				dir b user.overlay.opaque=y
				dir c user.overlay.opaque=y
				file c/implied`},
			"leftovers of AUFS": {archive: `
				dir .wh..wh.plnk
				file .wh..wh.plnk/12.34
				file .wh..wh.aufs
				file a`, becomes: `file a`},
			"device nodes": {archive: `
				dir dev
				char dev/null major=1
				block dev/sda major=8
				char dev/zero-zero
				file dev/later
				char dev/later
				char gone/null`, becomes: `dir dev`,
				notes: `left out 5 device nodes: "dev/null", "dev/sda", "dev/zero-zero", "dev/later", "gone/null"`},
			"attributes": {archive: `
				dir a xattr:user.x=1
				file a/b xattr:user.y=2 xattr:user.z="3 4"`, becomes: `
				dir a user.x=1
				file a/b user.y=2 user.z="3 4"`},
			"forged attributes": {archive: `
				dir a xattr:user.overlay.opaque=y
				file a/b xattr:user.overlay.whiteout=y xattr:trusted.overlay.redirect=/etc
				file a/c xattr:user.rootlesscontainers="\b\x01" xattr:user.overlay.metacopy=y`, becomes: `
				dir a
				file a/b
				file a/c`,
				notes: `dropped 5 extended attributes: "user.overlay.opaque on a", "trusted.overlay.redirect on a/b", ` +
					`"user.overlay.whiteout on a/b", "user.overlay.metacopy on a/c", "user.rootlesscontainers on a/c"`},
			"attributes that nothing here can hold": {archive: `
				file a xattr:security.selinux=x xattr:trusted.x=y xattr:system.posix_acl_access=z xattr:nonsense=1
				symlink b a xattr:user.x=1
				fifo c xattr:user.x=1`, becomes: `
				file a
				symlink b a
				fifo c`,
				notes: `dropped 6 extended attributes: "nonsense on a", "security.selinux on a", "system.posix_acl_access on a", ` +
					`"trusted.x on a", "user.x on b", ...`},
			"parent through symlinks": {archive: `
				dir usr
				dir usr/lib
				symlink lib usr/lib
				symlink abs /usr
				symlink usr/up ../usr/./lib
				symlink chain lib
				file lib/a
				file abs/b
				file usr/up/c
				file chain/d
				link e abs/lib/a`, becomes: `
				symlink abs /usr
				symlink chain lib
				file e
				symlink lib usr/lib
				dir usr
				file usr/b
				dir usr/lib
				link usr/lib/a e
				file usr/lib/c
				file usr/lib/d
				symlink usr/up ../usr/./lib`},
			"parent through dangling symlinks": {archive: `
				symlink a /made/here
				symlink b made/../there
				file a/f
				file b/f`, becomes: `
				symlink a /made/here
				symlink b made/../there
				dir made
				dir made/here
				file made/here/f
				dir there
				file there/f`},
			"symlink to its own directory": {archive: `
				dir a
				symlink a/self .
				file a/self/self/f
				symlink a/self/self b`, becomes: `
				dir a
				file a/f
				symlink a/self b`},
		} {
			eachWalk(t, name, mode, func(t *testing.T, o Options) {
				dir, report, err := layer(t, c.archive, o)
				check(t, err)
				if c.becomes == "" {
					c.becomes = c.archive
				}
				if got, want := listing(t, dir), unindent(c.becomes); got != want {
					t.Errorf("got\n%swant\n%s", got, want)
				}
				if got := strings.Join(report.Notes(), "\n"); got != c.notes {
					t.Errorf("notes: got\n%s\nwant\n%s", got, c.notes)
				}
			})
		}
	})
}
