package criu

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"slices"
	"testing"
)

func TestEmptyLibrary(t *testing.T) {
	names := []string{"gnutls_free", "gnutls_init"}
	for _, machine := range []elf.Machine{elf.EM_X86_64, elf.EM_AARCH64} {
		like := elf.FileHeader{Class: elf.ELFCLASS64, Data: elf.ELFDATA2LSB, ByteOrder: binary.LittleEndian, Machine: machine}
		content, err := emptyLibrary(like, "libgnutls.so.30", names)
		must(t, err)
		f, err := elf.NewFile(bytes.NewReader(content))
		must(t, err)
		if f.Type != elf.ET_DYN || f.Machine != machine || f.Progs[0].Flags&elf.PF_X != 0 {
			t.Errorf("%+v", f.FileHeader)
		}
		if !bytes.Contains(content, []byte("\x00libgnutls.so.30\x00gnutls_free\x00gnutls_init\x00")) {
			t.Errorf("%q", content)
		}
	}
}

// The real CRIU starts with the stand-in, and needs it.
func TestStandInOfTheRealCRIU(t *testing.T) {
	i := installed(t)
	if i.Loader == "" {
		t.Skip("this CRIU is static")
	}
	if i.standIn == nil {
		t.Fatal("it was not accepted")
	}
	f, err := memoryFile(i.standIn)
	must(t, err)
	defer f.Close()
	args := i.loaderArgs(i.Loader, i.Path, descriptor(firstExtra), i.Libraries)
	args = slices.Insert(args, len(args)-1, "--list")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.ExtraFiles = []*os.File{f}
	out, err := cmd.Output()
	if err != nil || bytes.Contains(out, []byte("libgnutls")) || !bytes.Contains(out, []byte("libprotobuf-c")) {
		t.Errorf("%v: it loads %s", err, out)
	}
}
