package criu

import "github.com/aperturerobotics/protobuf-go-lite/encoding/protowire"

// fieldDeathSignal is of thread_core_entry (core.proto of CRIU).
const fieldDeathSignal = 8

// ClearDeathSignal takes the root process's wish to be signalled at its parent's death (PR_SET_PDEATHSIG of prctl(2)) out of
// the directory's images: CRIU is its parent when it is restored, and ends. The original's is the container's first process,
// which never ends before it.
//
// Errors: a damaged image.
func ClearDeathSignal(dir string) error {
	root, all, err := openImages(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // a directory
	for _, thread := range all[0].Threads {
		if err := editCore(root, coreOf(thread), withoutDeathSignal); err != nil {
			return err
		}
	}
	return nil
}

// withoutDeathSignal returns a core_entry without the signal, or nil if there is none. All else in it stays.
func withoutDeathSignal(core []byte) (out []byte, err error) {
	found := false
	err = eachField(core, func(f field) error {
		if f.number != fieldThread {
			out = append(out, f.raw...)
			return nil
		}
		var thread []byte
		err := eachField(f.bytes, func(f field) error {
			if f.number == fieldDeathSignal {
				found = found || f.varint != 0
				return nil
			}
			thread = append(thread, f.raw...)
			return nil
		})
		out = protowire.AppendBytes(protowire.AppendTag(out, fieldThread, protowire.BytesType), thread)
		return err
	})
	if err != nil || !found {
		return nil, err
	}
	return out, nil
}
