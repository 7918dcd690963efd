package criu

import (
	"os"
	"path/filepath"
	"testing"
)

func TestClearDeathSignal(t *testing.T) {
	dir := writeImages(t)
	write := func(name string, content []byte) { must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600)) }
	read := func(name string) string {
		content, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		return string(content)
	}
	write("core-100.img", image(coreMagic, message(1, 1, 3, message(1, 1), 5, message(1, 7, 8, 15, 99, 5), 4, []byte("x"))))
	write("core-101.img", image(coreMagic, message(1, 1, 5, message(8, 9))))
	child := image(coreMagic, message(1, 1, 5, message(8, 9)))
	write("core-102.img", child)
	for range 2 {
		must(t, ClearDeathSignal(dir))
		for name, want := range map[string][]byte{
			"core-100.img": image(coreMagic, message(1, 1, 3, message(1, 1), 5, message(1, 7, 99, 5), 4, []byte("x"))),
			"core-101.img": image(coreMagic, message(1, 1, 5, []byte{})),
			"core-102.img": child, // its parent is restored with it
		} {
			if got := read(name); got != string(want) {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
	}
	write("core-100.img", image(coreMagic, []byte{0xff}))
	if ClearDeathSignal(dir) == nil {
		t.Error("a damaged image")
	}
}
