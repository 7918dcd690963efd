package emulate

import "testing"

func TestParent(t *testing.T) {
	for name, want := range map[string]string{
		"a": ".", "a/": ".", "/a": "/", "//a": "/", "a/b": "a", "a/b//": "a", "a//b": "a/", "../a": "..", "a/../b": "a/..", "/": ".",
	} {
		if got := parent(name); got != want {
			t.Errorf("parent of %q is %q, want %q", name, got, want)
		}
	}
}

func TestMagicLink(t *testing.T) {
	for name, want := range map[string]bool{
		"/proc/self/fd/1": true, "/proc/12/fd/3": true, "/dev/fd/0": true, "//proc//thread-self/fd//9": true,
		"/proc/self/cwd": false, "/proc/1/root/etc": false, "/proc/self/fd/1/x": false, "proc/self/fd/1": false, "/dev/fd/../fd/1": false,
		"/proc/self/fd/1\n": false,
	} {
		if got := magicLink().MatchString(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}
