package wire

import (
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
)

func ends(t *testing.T) (a, b *Conn) {
	t.Helper()
	a, f, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	b, err = FromFile(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestBodiesOfAnySizeArrive(t *testing.T) {
	for _, size := range []int{0, 1, maxInline - 100, maxInline, maxInline + 1, 5 << 20} {
		a, b := ends(t)
		want := strings.Repeat("x", size)
		if err := a.Send(7, "text", want); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		m, err := b.Receive()
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		var got string
		if err := m.Decode(&got); err != nil || got != want || m.ID != 7 || m.Kind != "text" || len(m.Files) != 0 {
			t.Fatalf("%d bytes: got %d bytes, id %d, kind %q, %d files, %v", size, len(got), m.ID, m.Kind, len(m.Files), err)
		}
	}
}

func TestFilesTravelBesideSmallAndLargeBodies(t *testing.T) {
	for _, size := range []int{10, maxInline * 2} {
		a, b := ends(t)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := a.Send(1, "files", strings.Repeat("y", size), w); err != nil {
			t.Fatal(err)
		}
		w.Close()
		m, err := b.Receive()
		if err != nil || len(m.Files) != 1 {
			t.Fatalf("got %v, %v", m, err)
		}
		io.WriteString(m.Files[0], "hello")
		m.CloseFiles()
		if text, _ := io.ReadAll(r); string(text) != "hello" {
			t.Fatalf("read %q through the received file", text)
		}
	}
}

func TestReceiveReturnsEOFWhenThePeerEnds(t *testing.T) {
	a, b := ends(t)
	a.Close()
	if _, err := b.Receive(); !errors.Is(err, io.EOF) {
		t.Fatalf("got %v, want io.EOF", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`i{"id":1,"kind":"hello"}`))
	f.Add([]byte(`m`))
	f.Add([]byte(`i{"id":-1}`))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		if len(datagram) == 0 {
			return
		}
		m := &Message{}
		if m.parse(datagram) == nil {
			var v any
			_ = m.Decode(&v)
		}
	})
}

func TestAMessageSurvivesTheLossOfItsFiles(t *testing.T) {
	for _, size := range []int{10, maxInline * 2} {
		a, b := ends(t)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := a.Send(9, "files", strings.Repeat("y", size), w); err != nil {
			t.Fatal(err)
		}
		w.Close()
		m := receiveWithoutRoom(t, b)
		if !m.FilesLost || len(m.Files) != 0 || m.ID != 9 || m.Kind != "files" {
			t.Errorf("%d bytes: got %+v", size, m)
		}
		if err := a.Send(10, "after", nil); err != nil {
			t.Fatal(err)
		}
		if m, err := b.Receive(); err != nil || m.ID != 10 || m.FilesLost {
			t.Errorf("the next message: %+v, %v", m, err)
		}
	}
}

// receiveWithoutRoom receives while no file can be opened.
func receiveWithoutRoom(t *testing.T, c *Conn) *Message {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	none := old
	none.Cur = 0
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	m, err := c.Receive()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}
