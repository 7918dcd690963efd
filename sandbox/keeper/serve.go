package keeper

import (
	"context"
	"os"
	"sync"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// server answers one caller.
type server struct {
	conn   *wire.Conn
	keeper func() (*keeper, error) // made once; its failure fails every request

	handlers   sync.WaitGroup
	mu         sync.Mutex
	cancels    map[uint64]context.CancelFunc
	helped     map[uint64]chan sandbox.HelperResult
	containers map[uint64]*container

	users uint64        // the inode number of the caller's user namespace
	door  *door         // where a guest came in, nil for the caller
	left  chan struct{} // closed when a guest has left
}

func newServer(conn *wire.Conn, k func() (*keeper, error)) *server {
	return &server{
		conn: conn, keeper: k, cancels: map[uint64]context.CancelFunc{}, helped: map[uint64]chan sandbox.HelperResult{},
		containers: map[uint64]*container{}, left: make(chan struct{}),
	}
}

// serve returns when the caller is gone, and with it every container that is not to outlive it. Whatever still runs is
// ended by the kernel when this process exits.
func serve(conn *wire.Conn) {
	s := newServer(conn, sync.OnceValues(newKeeper))
	go func() { _, _ = s.keeper() }() // while the first request is on its way
	if s.greet() != nil {
		return
	}
	s.receive()
	s.close()
	s.bidFarewell()
}

// receive starts what is asked for, until the other side is gone.
func (s *server) receive() {
	for {
		m, err := s.conn.Receive()
		if err != nil {
			return
		}
		s.dispatch(m)
	}
}

// close leaves everything to the kernel, which ends it all with this process, but for files on disk and cgroups.
func (s *server) close() {
	k, err := s.keeper()
	if err != nil {
		return
	}
	close(k.callerLeft)
	k.doors.lock((*container).isDetached)
	k.claims.end(k)
	s.outliveCaller(k)
	if !k.scratch.onDisk && !k.cgroups.Load() && !k.volumesUsed.Load() && !s.hasKept() {
		return
	}
	s.cancelAll()
	s.handlers.Wait()
	s.letAllGo()
	k.discardVolumes()
	k.scratch.close()
}

func (s *server) cancelAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cancel := range s.cancels {
		cancel()
	}
}

// greet answers the caller's greeting with our own; it is the caller's part to refuse another version.
func (s *server) greet() error {
	m, err := s.conn.Receive()
	if err != nil {
		return err
	}
	m.CloseFiles()
	var h sandbox.Hello
	if err := m.Decode(&h); err != nil {
		return err
	}
	s.users = h.UserNamespace
	return s.sendHello()
}

func (s *server) sendHello() error {
	return s.conn.Send(0, sandbox.KindHello, sandbox.Hello{Protocol: sandbox.ProtocolVersion, Version: sandbox.Version})
}

func (s *server) dispatch(m *wire.Message) {
	switch m.Kind {
	case sandbox.KindCancel:
		m.CloseFiles()
		s.cancel(m.ID)
		if s.door == nil { // a guest's containers are somebody else's
			s.handlers.Go(func() { s.takeBack(m.ID) })
		}
		return
	case sandbox.KindHelped:
		m.CloseFiles()
		s.deliverHelp(m)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.mu.Lock()
	s.cancels[m.ID] = cancel
	s.mu.Unlock()
	s.handlers.Go(func() {
		defer s.cancel(m.ID)
		defer m.CloseFiles()
		s.answer(m.ID, s.handle(ctx, m))
	})
}

func (s *server) cancel(id uint64) {
	s.mu.Lock()
	cancel := s.cancels[id]
	delete(s.cancels, id)
	s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// outcome is how a request ended. The files go with the answer and are closed then; clean runs after it.
type outcome struct {
	body  any
	files []*os.File
	err   error
	clean func()
}

func (s *server) answer(id uint64, o outcome) {
	// A failed send means that the caller is gone, which the receiving loop sees too.
	if o.err != nil {
		_ = s.conn.Send(id, sandbox.KindFailed, toWire(o.err))
	} else {
		_ = s.conn.Send(id, sandbox.KindDone, o.body, o.files...)
	}
	for _, f := range o.files {
		_ = f.Close()
	}
	if o.clean != nil {
		o.clean()
	}
}

func (s *server) handle(ctx context.Context, m *wire.Message) outcome {
	k, err := s.keeper()
	if err != nil {
		return outcome{err: err}
	}
	if s.door == nil {
		k.doors.users.Store(s.users)
	}
	if m.FilesLost {
		return outcome{err: sandbox.FilesLost("the keeper")}
	}
	h, ok := handlers[m.Kind]
	if !ok {
		return outcome{err: sandbox.Errorf(sandbox.CodeProtocol, "the keeper does not know the request %q", m.Kind)}
	}
	return h(s, ctx, k, m)
}

// handler answers one request. Whatever it starts ends with ctx, which ends with the request.
type handler = func(s *server, ctx context.Context, k *keeper, m *wire.Message) outcome

// handlers are the requests that the keeper knows.
var handlers = map[string]handler{
	sandbox.KindPull:    (*server).pull,
	sandbox.KindRun:     (*server).run,
	sandbox.KindCreate:  (*server).create,
	sandbox.KindStart:   (*server).start,
	sandbox.KindExec:    (*server).exec,
	sandbox.KindPause:   about((*container).pause),
	sandbox.KindResume:  about((*container).resume),
	sandbox.KindSignal:  about((*container).signal),
	sandbox.KindDiscard: (*server).discardAsked,

	sandbox.KindDial:           (*server).dial,
	sandbox.KindAwaitListening: about((*container).awaitListening),
	sandbox.KindListening:      about((*container).listening),
	sandbox.KindOpenPorts:      about((*container).openPorts),
	sandbox.KindProcesses:      about((*container).processes),
	sandbox.KindStats:          about((*container).stats),
	sandbox.KindSize:           about((*container).size),
	sandbox.KindPID:            (*server).firstPID,
	sandbox.KindContainerSizes: (*server).containerSizes,

	sandbox.KindOpenFile:  (*server).openFile,
	sandbox.KindStatFile:  askFiles(statFile),
	sandbox.KindListFiles: askFiles(listFiles),
	sandbox.KindReadLink:  askFiles(readLink),
	sandbox.KindCopyTo:    (*server).copyTo,
	sandbox.KindCopyFrom:  (*server).copyFrom,
	sandbox.KindChanges:   about((*container).changes),

	sandbox.KindAttach: (*server).attach,
	sandbox.KindWait:   about((*container).waitForEnd),
	sandbox.KindDetach: (*server).detach,
	sandbox.KindLogs:   (*server).logs,

	sandbox.KindCommit:       about((*container).commit),
	sandbox.KindRemoveImages: (*server).removeImages,
	sandbox.KindPruneStore:   (*server).pruneStore,
	sandbox.KindDiskUsage:    (*server).diskUsage,
	sandbox.KindCheckStore:   (*server).checkStore,
	sandbox.KindResetStore:   (*server).resetStore,

	sandbox.KindCheckpoint:     about((*container).checkpoint),
	sandbox.KindRestore:        (*server).restore,
	sandbox.KindReset:          (*server).reset,
	sandbox.KindClaim:          (*server).claim,
	sandbox.KindCommitClaim:    (*server).commitClaim,
	sandbox.KindAbandonClaim:   (*server).abandonClaim,
	sandbox.KindSnapshots:      (*server).snapshotList,
	sandbox.KindSnapshot:       (*server).snapshot,
	sandbox.KindRemoveSnapshot: (*server).snapshotRemove,
	sandbox.KindExportSnapshot: (*server).snapshotExport,
	sandbox.KindImportSnapshot: (*server).snapshotImport,

	sandbox.KindCreateVolume: (*server).createVolume,
	sandbox.KindRemoveVolume: (*server).removeVolume,

	sandbox.KindDiscardAtEnd: about((*container).discardAtEnd),

	sandbox.KindLoad:   (*server).load,
	sandbox.KindImport: (*server).importImage,

	sandbox.KindBuild: (*server).build,

	sandbox.KindOpen:            (*server).open,
	sandbox.KindRemoveContainer: (*server).removeContainer,
	sandbox.KindRename:          about((*container).rename),
	sandbox.KindStop:            about((*container).stop),
	sandbox.KindStatus:          about((*container).tellStatus),
	sandbox.KindConfig:          about((*container).tellConfig),

	sandbox.KindUpdate:         about((*container).update),
	sandbox.KindAttachStreams:  (*server).attachStreams,
	sandbox.KindResizeTerminal: about((*container).resizeTerminal),
}

func (s *server) pull(ctx context.Context, k *keeper, m *wire.Message) outcome {
	var r sandbox.PullRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	image, err := k.pull(ctx, r.Image, r.Get, s.asker(ctx, m.ID))
	if err != nil {
		return outcome{err: err}
	}
	if image.ID != "" {
		k.emitImage("pull", image)
	}
	return outcome{body: imageInfo(image)}
}
