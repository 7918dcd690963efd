package criu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/aperturerobotics/protobuf-go-lite/encoding/protowire"
	"golang.org/x/sys/unix"
)

// The magic numbers of image files, each at the beginning of a file after commonMagic (include/magic.h of CRIU).
const (
	commonMagic  = 0x54564319
	pstreeMagic  = 0x50273030
	coreMagic    = 0x55053847
	seccompMagic = 0x64413049
)

// maxImage is the size in bytes up to which image files are read here: those of memory never are, others have some KiB.
const maxImage = 16 << 20

// Process is a process in images.
type Process struct {
	PID, Parent int
	Threads     []int // with the process itself
}

// Processes lists the processes in the directory's images, the root process first; zombies among them.
//
// Errors: damaged or missing images.
func Processes(dir string) ([]Process, error) {
	root, all, err := openImages(dir)
	if err != nil {
		return nil, err
	}
	return all, root.Close()
}

// openImages opens a directory of images, and reads which processes they are of.
func openImages(dir string) (*os.Root, []Process, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	all, err := processes(root)
	if err != nil {
		return nil, nil, errors.Join(err, root.Close())
	}
	return root, all, nil
}

func processes(root *os.Root) ([]Process, error) {
	entries, err := readImage(root, "pstree.img", pstreeMagic)
	if err != nil {
		return nil, err
	}
	var all []Process
	for _, entry := range entries {
		p, err := parseProcess(entry)
		if err != nil {
			return nil, fmt.Errorf("read pstree.img: %w", err)
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		return nil, errors.New("read pstree.img: there are no processes in it")
	}
	return all, nil
}

// parseProcess reads a pstree_entry (pstree.proto of CRIU).
func parseProcess(entry []byte) (Process, error) {
	var p Process
	err := eachField(entry, func(f field) error {
		switch f.number {
		case 1:
			p.PID = int(f.varint)
		case 2:
			p.Parent = int(f.varint)
		case 5:
			threads, err := f.varints()
			for _, t := range threads {
				p.Threads = append(p.Threads, int(t))
			}
			return err
		}
		return nil
	})
	if err == nil && (p.PID <= 0 || p.PID > 1<<22) {
		err = fmt.Errorf("there is no process %d", p.PID)
	}
	return p, err
}

// readImage reads the entries of an image file.
func readImage(root *os.Root, name string, magic uint32) ([][]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxImage {
		return nil, errors.Join(fmt.Errorf("read %s: it is no image", name), err)
	}
	content, err := io.ReadAll(io.LimitReader(f, maxImage))
	if err != nil {
		return nil, err
	}
	entries, err := parseImage(content, magic)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return entries, nil
}

var errDamaged = errors.New("the image is damaged")

// parseImage reads two magic numbers and any number of entries, each after its length.
func parseImage(content []byte, magic uint32) ([][]byte, error) {
	le := binary.LittleEndian
	if len(content) < 8 || le.Uint32(content) != commonMagic || le.Uint32(content[4:]) != magic {
		return nil, errDamaged
	}
	var entries [][]byte
	for content = content[8:]; len(content) > 0; {
		if len(content) < 4 || uint64(le.Uint32(content)) > uint64(len(content)-4) {
			return nil, errDamaged
		}
		size := le.Uint32(content)
		entries = append(entries, content[4:4+size])
		content = content[4+size:]
	}
	return entries, nil
}

// writeImage puts an image with one entry in a file's place.
func writeImage(root *os.Root, name string, magic uint32, entry []byte) error {
	content := binary.LittleEndian.AppendUint32(nil, commonMagic)
	content = binary.LittleEndian.AppendUint32(content, magic)
	content = binary.LittleEndian.AppendUint32(content, uint32(len(entry)))
	next := name + ".new"
	if err := root.Remove(next); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := root.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(content, entry...))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return root.Rename(next, name)
}

// field is one field of a message. Exactly one of varint and bytes is its value, or neither.
type field struct {
	number protowire.Number
	kind   protowire.Type
	varint uint64
	bytes  []byte
	raw    []byte // with tag
}

// varints reads a repeated number, packed or not.
func (f field) varints() ([]uint64, error) {
	if f.kind == protowire.VarintType {
		return []uint64{f.varint}, nil
	}
	var all []uint64
	for rest := f.bytes; len(rest) > 0; {
		v, n := protowire.ConsumeVarint(rest)
		if n < 0 {
			return nil, errDamaged
		}
		all, rest = append(all, v), rest[n:]
	}
	return all, nil
}

// eachField calls do for the fields of a message in their order.
func eachField(message []byte, do func(field) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return errDamaged
		}
		f := field{number: number, kind: kind}
		m := 0
		switch kind {
		case protowire.VarintType:
			f.varint, m = protowire.ConsumeVarint(message[n:])
		case protowire.BytesType:
			f.bytes, m = protowire.ConsumeBytes(message[n:])
		default:
			m = protowire.ConsumeFieldValue(number, kind, message[n:])
		}
		if m < 0 {
			return errDamaged
		}
		f.raw = message[:n+m]
		if err := do(f); err != nil {
			return err
		}
		message = message[n+m:]
	}
	return nil
}

// coreOf is the name of the image of a process, or of a thread.
func coreOf(id int) string { return "core-" + strconv.Itoa(id) + ".img" }
