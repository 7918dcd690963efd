package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestParseDetachKeys(t *testing.T) {
	for text, want := range map[string]string{
		"": "\x10\x11", "ctrl-p,ctrl-q": "\x10\x11", "a": "a", "a,b": "ab", "ctrl-a": "\x01", "ctrl-z": "\x1a", "ctrl-@": "\x00",
		"ctrl-[": "\x1b", `ctrl-\`: "\x1c", "ctrl-]": "\x1d", "ctrl-^": "\x1e", "ctrl-_": "\x1f", "DEL": "\x7f", "ctrl-x,!,Z": "\x18!Z",
	} {
		if got, err := parseDetachKeys(text); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{",", "ctrl-", "ctrl-A", "ctrl-1", "ctrl-pq", "ab", "a,,b", "ctrl-p ctrl-q", "é", "\xff", "alt-x"} {
		if got, err := parseDetachKeys(text); !errors.As(err, new(*usageError)) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func TestKeyReader(t *testing.T) {
	for _, c := range []struct {
		keys, input, passed string
		detached            bool
	}{
		{"pq", "hellopq", "hello", true},
		{"pq", "hellopqmore", "hello", true},
		{"pq", "hellop", "hellop", false},
		{"pq", "pxq", "pxq", false},
		{"pq", "ppq", "p", true},
		{"aab", "aaab", "a", true},
		{"abc", "ababc", "ab", true},
		{"abc", "abxabc", "abx", true},
		{"x", "x", "", true},
		{"x", "", "", false},
	} {
		for name, from := range map[string]io.Reader{"at once": strings.NewReader(c.input), "byte by byte": iotest.OneByteReader(strings.NewReader(c.input))} {
			passed, err := io.ReadAll(&keyReader{from: from, keys: []byte(c.keys)})
			if string(passed) != c.passed || errors.Is(err, errDetached) != c.detached {
				t.Errorf("%q in %q, %s: %q, %v", c.keys, c.input, name, passed, err)
			}
		}
	}
}

// Whatever comes in whatever pieces, what is passed on is what stands before the sequence.
func FuzzKeyReader(f *testing.F) {
	f.Add([]byte("pq"), []byte("xppqx"), 3)
	f.Add([]byte("aab"), []byte("aaaab"), 1)
	f.Fuzz(func(t *testing.T, keys, input []byte, size int) {
		if len(keys) == 0 || len(keys) > 16 {
			return
		}
		want, _, found := bytes.Cut(input, keys)
		r := &keyReader{from: iotest.HalfReader(bytes.NewReader(input)), keys: keys}
		var got []byte
		var err error
		for buf := make([]byte, 1+min(max(size, 0), 100)); err == nil; {
			var n int
			n, err = r.Read(buf)
			got = append(got, buf[:n]...)
		}
		if !bytes.Equal(got, want) || errors.Is(err, errDetached) != found {
			t.Fatalf("%q in %q: %q, %v", keys, input, got, err)
		}
	})
}

func FuzzParseDetachKeys(f *testing.F) {
	f.Add("ctrl-p,ctrl-q")
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := parseDetachKeys(text)
		if err == nil && (len(keys) == 0 || len(keys) > len(text)+2) {
			t.Fatalf("%q: %q", text, keys)
		}
	})
}
