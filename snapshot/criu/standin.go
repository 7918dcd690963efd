package criu

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"strings"
)

// unneeded is the library, without its version, that CRIU links for migration between machines over TLS and does not use
// otherwise. With the eight that it needs itself, to load it takes half of the time that CRIU takes to load.
const unneeded = "libgnutls.so."

// standIn makes an empty library in the place of the unneeded one: with its name, and with as many names in it as the
// program wants of it, none of which is ever called. It is data alone, the same for all processors of 64 bits. The loader
// finds the name among the libraries that it has preloaded, and looks for no other. It returns nil for a program that does
// not need the library.
//
// Errors: a damaged program.
func standIn(program string) ([]byte, error) {
	f, err := elf.Open(program)
	if err != nil {
		return nil, fmt.Errorf("read program %s: %w", program, err)
	}
	defer f.Close() //nolint:errcheck // only read
	libraries, err := f.ImportedLibraries()
	if err != nil || f.Class != elf.ELFCLASS64 {
		return nil, err
	}
	for _, name := range libraries {
		if !strings.HasPrefix(name, unneeded) {
			continue
		}
		symbols, err := f.DynamicSymbols()
		if err != nil {
			return nil, fmt.Errorf("read symbols of %s: %w", program, err)
		}
		return emptyLibrary(f.FileHeader, name, importedFrom(name, symbols))
	}
	return nil, nil
}

// importedFrom lists the symbols of the library. A variable of it may have its place in the program already, which then is
// where it is copied to.
func importedFrom(library string, all []elf.Symbol) (names []string) {
	for _, s := range all {
		if s.Library == library {
			names = append(names, s.Name)
		}
	}
	return names
}

// The sizes of what an ELF file of 64 bits has (elf(5)).
const (
	headerSize  = 64
	segmentSize = 56
	dynamicSize = 16
	symbolSize  = 24
	// datumSize is what each symbol has of memory: a pointer.
	datumSize = 8

	segments = 3
	tags     = 7
	pageSize = 64 << 10 // the largest that there is
)

// emptyLibrary is a shared library: one segment that can be read and written, since the loader writes to the table of tags.
func emptyLibrary(like elf.FileHeader, soname string, symbols []string) ([]byte, error) {
	text := []byte("\x00" + soname + "\x00")
	var dynamicAt uint64 = headerSize + segments*segmentSize
	symbolsAt := dynamicAt + tags*dynamicSize
	hashAt := symbolsAt + uint64(1+len(symbols))*symbolSize
	dataAt := hashAt + uint64(3+1+len(symbols))*4
	dataAt += -dataAt % datumSize
	textAt := dataAt + uint64(len(symbols))*datumSize

	table := []elf.Sym64{{}}
	hash := []uint32{1, uint32(1 + len(symbols)), min(1, uint32(len(symbols))), 0} // one bucket with all of them
	for i, name := range symbols {
		table = append(table, elf.Sym64{
			Name: uint32(len(text)), Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_OBJECT), Shndx: 1,
			Value: dataAt + uint64(i)*datumSize, Size: datumSize,
		})
		hash = append(hash, uint32(i+2))
		text = append(append(text, name...), 0)
	}
	hash[len(hash)-1] = 0
	end := textAt + uint64(len(text))
	dynamic := [tags]elf.Dyn64{
		{Tag: int64(elf.DT_SONAME), Val: 1}, {Tag: int64(elf.DT_STRTAB), Val: textAt}, {Tag: int64(elf.DT_STRSZ), Val: uint64(len(text))},
		{Tag: int64(elf.DT_SYMTAB), Val: symbolsAt}, {Tag: int64(elf.DT_SYMENT), Val: symbolSize}, {Tag: int64(elf.DT_HASH), Val: hashAt},
	}
	program := [segments]elf.Prog64{
		{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W), Filesz: end, Memsz: end, Align: pageSize},
		{Type: uint32(elf.PT_DYNAMIC), Flags: uint32(elf.PF_R | elf.PF_W), Off: dynamicAt, Vaddr: dynamicAt, Filesz: tags * dynamicSize, Memsz: tags * dynamicSize, Align: 8},
		{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W)}, // otherwise the stack becomes executable
	}
	header := elf.Header64{
		Type: uint16(elf.ET_DYN), Machine: uint16(like.Machine), Version: uint32(elf.EV_CURRENT),
		Phoff: headerSize, Ehsize: headerSize, Phentsize: segmentSize, Phnum: segments,
	}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS], header.Ident[elf.EI_DATA], header.Ident[elf.EI_VERSION] = byte(like.Class), byte(like.Data), byte(elf.EV_CURRENT)

	var out bytes.Buffer
	for _, part := range []any{header, program, dynamic, table, hash, make([]byte, int(textAt)-int(hashAt)-4*len(hash)), text} {
		if err := binary.Write(&out, like.ByteOrder, part); err != nil {
			return nil, fmt.Errorf("make a stand-in for %s: %w", soname, err)
		}
	}
	return out.Bytes(), nil
}
