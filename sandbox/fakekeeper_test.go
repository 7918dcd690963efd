package sandbox_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// behaviourVariable tells the fake keeper what to be.
const behaviourVariable = "SANDBOX_TEST_KEEPER"

// behaviours are the keepers that a client may meet. Each gets the socket unless it is broken before it looks at it.
var behaviours = map[string]func(){
	"proper":  func() { newFake(greeted()).serve() },
	"dead":    func() { os.Exit(3) },
	"refuses": func() { fmt.Fprintln(os.Stderr, "bivouac: make namespaces: not permitted; permit them"); os.Exit(125) },
	"chatters": func() {
		for i := range 5000 {
			fmt.Fprintln(os.Stderr, "line", i)
		}
		os.Exit(125)
	},
	"future": func() { greet(sandbox.Hello{Protocol: 99, Version: "9.9.9"}); hold() },
	"rude":   func() { _ = socket().Send(0, "howdy", nil); hold() },
	"empty":  func() { _ = socket().Send(0, sandbox.KindHello, nil); hold() },
	"noise":  func() { write("i\x00\xff{]"); hold() },
	"noise after the greeting": func() {
		conn := greeted()
		_, _ = conn.Receive()
		write("i{\"id\":1,\"kind\":\"done\",\"body\":")
		hold()
	},
	"missing memory": func() { greeted(); write("m"); hold() },
	"mute":           func() { hold() },
	"dies in a request": func() {
		conn := greeted()
		_, _ = conn.Receive()
		fmt.Fprintln(os.Stderr, "keeper: out of memory")
		os.Exit(2)
	},
}

func fakeKeeper(behaviour string) {
	act := behaviours[behaviour]
	if act == nil {
		panic("no such behaviour: " + behaviour)
	}
	act()
}

// socketFD is where a keeper finds its socket.
const socketFD = 3

var socket = sync.OnceValue(func() *wire.Conn {
	conn, err := wire.FromFile(os.NewFile(socketFD, "caller"))
	if err != nil {
		panic(err)
	}
	return conn
})

// write sends a datagram as it is. It must come before [socket] takes the descriptor over, or after that on its copy.
func write(datagram string) {
	fd := socketFD
	if copied >= 0 {
		fd = copied
	}
	if _, err := syscall.Write(fd, []byte(datagram)); err != nil {
		panic(err)
	}
}

var copied = -1

func greet(h sandbox.Hello) *wire.Conn {
	var err error
	if copied, err = syscall.Dup(socketFD); err != nil {
		panic(err)
	}
	conn := socket()
	if _, err := conn.Receive(); err != nil {
		os.Exit(1)
	}
	_ = conn.Send(0, sandbox.KindHello, h)
	return conn
}

func greeted() *wire.Conn {
	return greet(sandbox.Hello{Protocol: sandbox.ProtocolVersion, Version: sandbox.Version})
}

// hold keeps the keeper alive until its caller is gone, as every keeper must end then.
func hold() {
	conn := socket()
	for {
		if _, err := conn.Receive(); err != nil {
			return
		}
	}
}

// fake is a keeper that keeps the protocol and whose containers are goroutines. An image's name says what comes of it.
type fake struct {
	conn *wire.Conn

	mu        sync.Mutex
	runs      map[uint64]chan int // signals to what runs
	cancelled []string
	created   map[uint64]*fakeContainer
}

func newFake(conn *wire.Conn) *fake { return &fake{conn: conn, runs: map[uint64]chan int{}} }

func (f *fake) serve() {
	for {
		m, err := f.conn.Receive()
		if err != nil {
			return
		}
		if m.Kind == sandbox.KindCancel {
			f.cancel(m.ID)
			continue
		}
		signals := make(chan int, 16)
		f.mu.Lock()
		f.runs[m.ID] = signals
		f.mu.Unlock()
		go f.handle(m, signals)
	}
}

func (f *fake) cancel(id uint64) {
	f.mu.Lock()
	f.cancelled = append(f.cancelled, strconv.FormatUint(id, 10))
	f.mu.Unlock()
	f.kill(id, 9)
}

func (f *fake) kill(id uint64, signal int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	signals, ok := f.runs[id]
	if ok {
		signals <- signal
	}
	return ok
}

func (f *fake) forget(id uint64) {
	f.mu.Lock()
	delete(f.runs, id)
	f.mu.Unlock()
}

func (f *fake) handle(m *wire.Message, signals chan int) {
	defer m.CloseFiles()
	switch m.Kind {
	case sandbox.KindPull:
		f.pull(m, signals)
	case sandbox.KindRun:
		f.run(m, signals)
	case sandbox.KindCreate:
		f.create(m)
	case sandbox.KindStart:
		f.start(m, signals)
	case sandbox.KindExec:
		f.exec(m, signals)
	case sandbox.KindPause, sandbox.KindResume:
		f.pause(m)
	case sandbox.KindDiscard:
		f.discard(m)
	case sandbox.KindLogs:
		f.logs(m, signals)
	case sandbox.KindSignal:
		f.signal(m)
	case sandbox.KindRemoveContainer:
		_ = f.conn.Send(m.ID, sandbox.KindFailed, sandbox.Errorf(sandbox.CodeNotFound, "remove container: none").WithRemedy("look"))
	}
	f.forget(m.ID)
}

func (f *fake) pull(m *wire.Message, signals chan int) {
	var r sandbox.PullRequest
	if m.Decode(&r) != nil {
		return
	}
	info := sandbox.ImageInfo{Name: r.Image}
	switch r.Image {
	case "slow":
		<-signals
		return
	case "odd answer":
		_ = f.conn.Send(m.ID, sandbox.KindDone, "not an object")
		return
	case "odd failure":
		_ = f.conn.Send(m.ID, sandbox.KindFailed, "not an object")
		return
	case "odd progress":
		_ = f.conn.Send(m.ID, sandbox.KindProgress, "not an object")
		return
	case "cancelled":
		f.mu.Lock()
		info.Notes = slices.Clone(f.cancelled)
		f.mu.Unlock()
	case "answered twice":
		_ = f.conn.Send(m.ID, sandbox.KindDone, info)
		_ = f.conn.Send(m.ID+1000, sandbox.KindDone, info, os.Stderr)
	}
	for i := range int64(100) {
		_ = f.conn.Send(m.ID, sandbox.KindProgress, sandbox.Progress{Kind: "progress", Current: i, Total: 100})
	}
	_ = f.conn.Send(m.ID, sandbox.KindDone, info)
}

// run plays the program that Args names.
func (f *fake) run(m *wire.Message, signals chan int) {
	var r sandbox.RunRequest
	if m.Decode(&r) != nil {
		return
	}
	f.play(m, &r.Spec, signals)
}

func (f *fake) play(m *wire.Message, spec *sandbox.Spec, signals chan int) {
	switch args := spec.Args; args[0] {
	case "absent":
		_ = f.conn.Send(m.ID, sandbox.KindFailed, sandbox.Errorf(sandbox.CodeNoProgram, "execute: not there"))
	case "odd":
		_ = f.conn.Send(m.ID, "odd", nil)
	case "odd start":
		_ = f.conn.Send(m.ID, sandbox.KindStarted, "not an object")
	case "odd end":
		f.started(m, nil)
		_ = f.conn.Send(m.ID, sandbox.KindDone, nil)
	case "never":
		<-signals
	case "exit":
		f.started(m, nil)
		code, _ := strconv.Atoi(args[1])
		_ = f.conn.Send(m.ID, sandbox.KindDone, sandbox.Exit{Code: code})
	case "copy":
		_, _ = m.Files[1].ReadFrom(m.Files[0])
		fmt.Fprintln(m.Files[2], "copied")
		m.CloseFiles()
		f.started(m, nil)
		_ = f.conn.Send(m.ID, sandbox.KindDone, sandbox.Exit{})
	case "terminal":
		f.terminal(m, spec.Terminal)
	case "sleep":
		f.started(m, nil)
		s := <-signals
		f.forget(m.ID)
		_ = f.conn.Send(m.ID, sandbox.KindDone, sandbox.Exit{Code: 128 + s, Signal: s})
	case "crash":
		f.started(m, nil)
		fmt.Fprintln(os.Stderr, "keeper: crashed")
		time.Sleep(10 * time.Millisecond)
		os.Exit(2)
	}
}

func (f *fake) started(m *wire.Message, terminal *os.File) {
	var files []*os.File
	if terminal != nil {
		files = []*os.File{terminal}
	}
	_ = f.conn.Send(m.ID, sandbox.KindStarted, sandbox.Info{ID: "abc", StopSignal: 15, Warnings: []string{"careful"}}, files...)
}

// terminal hands a pipe over in the place of a terminal, with its size in it.
func (f *fake) terminal(m *wire.Message, size *sandbox.TerminalSize) {
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(w, "%dx%d, %d files", size.Columns, size.Rows, len(m.Files))
	w.Close()
	f.started(m, r)
	r.Close()
	_ = f.conn.Send(m.ID, sandbox.KindDone, sandbox.Exit{})
}

func (f *fake) signal(m *wire.Message) {
	var r sandbox.SignalRequest
	if m.Decode(&r) != nil {
		return
	}
	if !f.kill(f.programOf(r), r.Signal) {
		_ = f.conn.Send(m.ID, sandbox.KindFailed, sandbox.Errorf(sandbox.CodeAlreadyFinished, "it has ended"))
		return
	}
	_ = f.conn.Send(m.ID, sandbox.KindDone, nil)
}
