package unpack

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bivouac-run/bivouac/rootfs/nstest"
)

func TestUnmappedOwner(t *testing.T) {
	nstest.Run(t, func(t *testing.T, mode nstest.Mode) {
		o := options(t, mode)
		top := nstest.MaxID(t)
		lines := fmt.Sprintf("file ok uid=%d gid=%d\nfile srv/f uid=%d\n", top, top, top+1)
		_, _, err := layer(t, lines, o)
		var unmapped *UnmappedIDError
		if !errors.As(err, &unmapped) {
			t.Fatalf("got %v", err)
		}
		for _, part := range []string{`"srv/f"`, itoa(int64(top + 1)), fmt.Sprintf("0-%d", top), "/etc/subuid", "--ignore-chown-errors"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q is not in: %v", part, err)
			}
		}
		for _, ids := range []string{"gid=2000000000", "uid=-1", "uid=4294967295", "gid=4294967296"} {
			for _, kind := range []string{"dir a ", "file a ", "fifo a ", "symlink a b "} {
				_, _, err = layer(t, kind+ids, o)
				if !errors.As(err, &unmapped) || unmapped.Group != strings.HasPrefix(ids, "gid") || unmapped.User == unmapped.Group {
					t.Errorf("%s%s: got %v", kind, ids, err)
				}
			}
		}
		_, _, err = layer(t, "file a uid=2000000000 gid=2000000000", o)
		want := fmt.Sprintf(`unpack "a": its owner is 2000000000:2000000000, outside the mapped user ids 0-%d and group ids 0-%[1]d: `+
			"give your user larger ranges in /etc/subuid and /etc/subgid, or use --ignore-chown-errors", top)
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		_, _, err = layer(t, "file a uid=2000000000", Options{}) // the kernel decides
		if !errors.As(err, &unmapped) || unmapped.User || unmapped.Group {
			t.Errorf("got %v", err)
		}
		o.IgnoreChownErrors = true
		dir, report, err := layer(t, "file a uid=2000000000 gid=3\nsymlink b c gid=2000000000\n", o)
		check(t, err)
		if got, want := listing(t, dir), "file a owner=65534:3\nsymlink b c owner=0:65534\n"; got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
		if report.Reowned.Count != 2 || !strings.Contains(strings.Join(report.Notes(), "\n"), `"a", "b"`) {
			t.Errorf("got %+v, %v", report, report.Notes())
		}
		o.UIDs, o.GIDs = o.UIDs[:1:1], IDRanges{{Size: 10}}
		o.UIDs[0].Size = 10
		dir, _, err = layer(t, "file a uid=11 gid=9\n", o)
		check(t, err)
		if got, want := listing(t, dir), "file a owner=0:9\n"; got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}, nstest.Mapped)
}

func TestImpossibleOwnerWithSingleID(t *testing.T) {
	nstest.Run(t, func(t *testing.T, mode nstest.Mode) {
		o := options(t, mode)
		var unmapped *UnmappedIDError
		if _, _, err := layer(t, "file a uid=4294967295", o); !errors.As(err, &unmapped) {
			t.Errorf("got %v", err)
		}
		dir, _, err := layer(t, "file a uid=4294967294 gid=300\ndir b uid=1\ndir b", o)
		check(t, err)
		if got, want := listing(t, dir), "file a owner=4294967294:300\ndir b\n"; got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}, nstest.Single)
}

func TestOwners(t *testing.T) {
	nstest.Both(t, func(t *testing.T, mode nstest.Mode) {
		lines := `
			dir a uid=1 gid=2 mode=2755
			dir a/b
			file a/c
			file a/d uid=65000 gid=128 mode=6755
			file a/implied/e
			dir a uid=3 gid=4 mode=2755
			file a/f`
		want := unindent(`
			dir a mode=2755 owner=3:4
			dir a/b
			file a/c
			file a/d mode=6755 owner=65000:128
			file a/f
			dir a/implied
			file a/implied/e`)
		dir, _, err := layer(t, lines, options(t, mode))
		check(t, err)
		if got := listing(t, dir); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})
}
