package sandbox_test

import (
	"cmp"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// fakeContainer is a container that was created by a request of its own.
type fakeContainer struct {
	spec    sandbox.Spec
	program uint64 // the request that started the last one
	paused  bool
}

func (f *fake) create(m *wire.Message) {
	var r sandbox.CreateRequest
	if m.Decode(&r) != nil {
		return
	}
	switch r.Spec.Image {
	case "absent":
		_ = f.conn.Send(m.ID, sandbox.KindFailed, sandbox.Errorf(sandbox.CodeNotFound, "pull: no such image"))
		return
	case "odd":
		_ = f.conn.Send(m.ID, sandbox.KindDone, "not an object")
		return
	}
	f.mu.Lock()
	if f.created == nil {
		f.created = map[uint64]*fakeContainer{}
	}
	f.created[m.ID] = &fakeContainer{spec: r.Spec}
	f.mu.Unlock()
	_ = f.conn.Send(m.ID, sandbox.KindProgress, sandbox.Progress{Kind: "note", Text: "creating"})
	_ = f.conn.Send(m.ID, sandbox.KindDone, sandbox.Info{ID: "def", Name: cmp.Or(r.Spec.Name, "def"), Args: r.Spec.Args})
}

func (f *fake) start(m *wire.Message, signals chan int) {
	var r sandbox.StartRequest
	if m.Decode(&r) != nil {
		return
	}
	f.mu.Lock()
	c := f.created[r.Container]
	if c != nil {
		c.program = m.ID
	}
	f.mu.Unlock()
	if c == nil {
		f.gone(m)
		return
	}
	f.play(m, &c.spec, signals)
}

func (f *fake) gone(m *wire.Message) {
	_ = f.conn.Send(m.ID, sandbox.KindFailed, sandbox.Errorf(sandbox.CodeAlreadyFinished, "it has been discarded"))
}

func (f *fake) exec(m *wire.Message, signals chan int) {
	var r sandbox.ExecRequest
	if m.Decode(&r) != nil {
		return
	}
	f.play(m, &sandbox.Spec{Args: r.Exec.Args, Terminal: r.Exec.Terminal}, signals)
}

func (f *fake) pause(m *wire.Message) {
	var r sandbox.PauseRequest
	if m.Decode(&r) != nil {
		return
	}
	f.mu.Lock()
	c := f.created[r.Container]
	same := c != nil && c.paused == (m.Kind == sandbox.KindPause)
	if c != nil {
		c.paused = m.Kind == sandbox.KindPause
	}
	f.mu.Unlock()
	switch {
	case c == nil:
		f.gone(m)
	case same:
		_ = f.conn.Send(m.ID, sandbox.KindFailed, sandbox.Errorf(sandbox.CodeInvalid, "%s twice", m.Kind))
	default:
		_ = f.conn.Send(m.ID, sandbox.KindDone, nil)
	}
}

func (f *fake) discard(m *wire.Message) {
	var r sandbox.DiscardRequest
	if m.Decode(&r) != nil {
		return
	}
	f.mu.Lock()
	c := f.created[r.Container]
	delete(f.created, r.Container)
	f.mu.Unlock()
	if c != nil {
		f.kill(c.program, 9)
	}
	_ = f.conn.Send(m.ID, sandbox.KindDone, nil)
}

// programOf returns the request that started what a signal is for.
func (f *fake) programOf(r sandbox.SignalRequest) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.created[r.Container]; c != nil && r.Process == 0 {
		return c.program
	}
	return cmp.Or(r.Process, r.Container)
}
