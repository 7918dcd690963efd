package main

import (
	"errors"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// defaultDetachKeys are Docker's.
const defaultDetachKeys = "ctrl-p,ctrl-q"

func registerDetachKeys(s *pflag.FlagSet, keys *string) {
	s.StringVar(keys, "detach-keys", defaultDetachKeys, "`KEYS` that detach from the terminal: letters, or ctrl- and one of a-z @ [ \\ ] ^ _, with commas between")
}

// parseDetachKeys reads a sequence of keys as Docker writes it. An empty text stands for the default.
//
// Errors: usageError.
func parseDetachKeys(text string) ([]byte, error) {
	if text == "" {
		text = defaultDetachKeys
	}
	var keys []byte
	for name := range strings.SplitSeq(text, ",") {
		key, ok := parseKey(name)
		if !ok {
			return nil, usageErrorf("--detach-keys %q: %q is no key; use single characters, and ctrl- with one of a-z @ [ \\ ] ^ _, with commas between", text, name)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// parseKey reads one key: itself, DEL, or ctrl- and a character, which is that of ASCII 64 places before its upper case.
func parseKey(name string) (byte, bool) {
	if len(name) == 1 && name[0] < 0x80 {
		return name[0], true
	}
	if name == "DEL" {
		return 0x7f, true
	}
	letter, ok := strings.CutPrefix(name, "ctrl-")
	if !ok || len(letter) != 1 || !strings.Contains("@abcdefghijklmnopqrstuvwxyz[\\]^_", letter) {
		return 0, false
	}
	return strings.ToUpper(letter)[0] - '@', true
}

// errDetached is what a keyReader ends with.
var errDetached = errors.New("detached by keys")

// keyReader passes input on until a sequence of keys is in it. What may be its beginning is held back until the next key tells.
type keyReader struct {
	from  io.Reader
	keys  []byte
	held  int    // how many of the keys have come
	ready []byte // what was read and not yet passed on
	err   error  // that comes after it
}

// Errors: errDetached, those of from.
func (r *keyReader) Read(p []byte) (int, error) {
	for len(r.ready) == 0 && r.err == nil {
		buf := make([]byte, len(p))
		n, err := r.from.Read(buf)
		r.err = err
		r.take(buf[:n])
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	if len(r.ready) > 0 {
		return n, nil
	}
	return n, r.err
}

func (r *keyReader) take(text []byte) {
	for _, key := range text {
		for r.held > 0 && key != r.keys[r.held] {
			r.release()
		}
		if key != r.keys[r.held] {
			r.ready = append(r.ready, key)
			continue
		}
		if r.held++; r.held == len(r.keys) {
			r.err = errDetached
			return
		}
	}
	if r.err != nil { // nothing comes any more that could complete the sequence
		r.ready = append(r.ready, r.keys[:r.held]...)
		r.held = 0
	}
}

// release passes on as few of the keys held back as leaves a beginning of the sequence.
func (r *keyReader) release() {
	n := 1
	for !strings.HasPrefix(string(r.keys), string(r.keys[n:r.held])) {
		n++
	}
	r.ready = append(r.ready, r.keys[:n]...)
	r.held -= n
}
