package criu

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aperturerobotics/protobuf-go-lite/encoding/protowire"
	"golang.org/x/sys/unix"
)

// image is a file of images with entries.
func image(magic uint32, entries ...[]byte) []byte {
	out := binary.LittleEndian.AppendUint32(nil, commonMagic)
	out = binary.LittleEndian.AppendUint32(out, magic)
	for _, e := range entries {
		out = append(binary.LittleEndian.AppendUint32(out, uint32(len(e))), e...)
	}
	return out
}

// message makes one of numbers and messages.
func message(fields ...any) []byte {
	var out []byte
	for i := 0; i < len(fields); i += 2 {
		n := protowire.Number(fields[i].(int))
		switch v := fields[i+1].(type) {
		case int:
			out = protowire.AppendVarint(protowire.AppendTag(out, n, protowire.VarintType), uint64(v))
		case []byte:
			out = protowire.AppendBytes(protowire.AppendTag(out, n, protowire.BytesType), v)
		}
	}
	return out
}

// writeImages makes a directory of images of two processes, the second of which is a zombie.
func writeImages(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"pstree.img": image(pstreeMagic, message(1, 100, 2, 0, 3, 100, 4, 100, 5, 100, 5, 101),
			message(1, 102, 2, 100, 5, []byte{102})),
		"core-100.img": image(coreMagic, message(1, 1, 3, message(1, 1, 2, 0), 5, message(1, 7, 11, 0, 99, 5), 4, []byte("x"))),
		"core-101.img": image(coreMagic, message(1, 1, 5, message(1, 8))),
		"core-102.img": image(coreMagic, message(1, 1, 3, message(1, 2))),
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	return dir
}

func TestProcesses(t *testing.T) {
	all, err := Processes(writeImages(t))
	must(t, err)
	if len(all) != 2 || all[0].PID != 100 || !slices.Equal(all[0].Threads, []int{100, 101}) || all[1].Parent != 100 ||
		!slices.Equal(all[1].Threads, []int{102}) {
		t.Errorf("%+v", all)
	}
}

func TestAddSeccomp(t *testing.T) {
	dir := writeImages(t)
	read := func(name string) string {
		content, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		return string(content)
	}
	thread, zombie := read("core-101.img"), read("core-102.img")
	filter := refusePersonality()
	must(t, AddSeccomp(dir, filter, unix.SECCOMP_FILTER_FLAG_LOG))
	if want := image(seccompMagic, message(1, message(1, filter, 3, 3))); read("seccomp.img") != string(want) {
		t.Errorf("seccomp.img is %q", read("seccomp.img"))
	}
	want := image(coreMagic, message(1, 1, 3, message(1, 1, 2, 0), 5, message(1, 7, 99, 5, 11, 2, 12, 0), 4, []byte("x")))
	if read("core-100.img") != string(want) {
		t.Errorf("core-100.img is %q, want %q", read("core-100.img"), want)
	}
	if read("core-101.img") != thread || read("core-102.img") != zombie {
		t.Error("a thread's or a zombie's image was changed")
	}
	if err := AddSeccomp(dir, filter, 0); !errors.Is(err, errFiltered) {
		t.Errorf("a second filter: %v", err)
	}
}

func TestVerifySeccomp(t *testing.T) {
	dir, filter := writeImages(t), refusePersonality()
	core := filepath.Join(dir, "core-100.img")
	unfiltered, err := os.ReadFile(core)
	must(t, err)
	must(t, AddSeccomp(dir, filter, 0))
	must(t, VerifySeccomp(dir, filter, 0))
	if err := VerifySeccomp(dir, filter[8:], 0); !errors.Is(err, ErrUnfiltered) {
		t.Errorf("another filter: %v", err)
	}
	must(t, os.WriteFile(core, unfiltered, 0o600))
	if err := VerifySeccomp(dir, filter, 0); !errors.Is(err, ErrUnfiltered) {
		t.Errorf("a process without it: %v", err)
	}
}

func TestAddSeccompRefuses(t *testing.T) {
	dir := writeImages(t)
	for _, filter := range [][]byte{nil, make([]byte, 7), make([]byte, 8*4097)} {
		if err := AddSeccomp(dir, filter, 0); err == nil {
			t.Errorf("a filter of %d bytes", len(filter))
		}
	}
	fifo := filepath.Join(dir, "core-100.img")
	must(t, os.Remove(fifo))
	must(t, unix.Mkfifo(fifo, 0o600))
	if err := AddSeccomp(dir, refusePersonality(), 0); err == nil || !strings.Contains(err.Error(), "no image") {
		t.Errorf("a FIFO: %v", err)
	}
	must(t, os.Remove(fifo))
	outside := filepath.Join(writeImages(t), "core-100.img")
	must(t, os.Symlink(outside, fifo))
	if err := AddSeccomp(dir, refusePersonality(), 0); err == nil {
		t.Error("a symlink was followed out of the directory")
	}
}

// What an image holds that is not known here stays as it is.
func FuzzFilterCore(f *testing.F) {
	f.Add(image(coreMagic, message(1, 1, 3, message(1, 1, 2, 0), 5, message(1, 7, 11, 0), 4, []byte("x"))))
	f.Add(image(pstreeMagic, message(1, 100, 2, 0, 5, []byte{100, 101})))
	f.Fuzz(func(t *testing.T, content []byte) {
		if entries, err := parseImage(content, pstreeMagic); err == nil {
			for _, e := range entries {
				_, _ = parseProcess(e)
			}
		}
		entries, err := parseImage(content, coreMagic)
		if err != nil {
			return
		}
		for _, e := range entries {
			once, err := filterCore(e)
			if err != nil || once == nil {
				continue
			}
			if _, err := filterCore(once); !errors.Is(err, errFiltered) {
				t.Errorf("after a filter: %v", err)
			}
		}
	})
}
