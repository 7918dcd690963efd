package criu

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/checkpoint-restore/go-criu/v8/rpc"
	"golang.org/x/sys/unix"
)

// pair returns two ends of a connection, each of which the other test's half may use.
func pair(t *testing.T) (ours, theirs *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "end")
		conn, err := net.FileConn(f)
		must(t, err)
		f.Close()
		t.Cleanup(func() { conn.Close() })
		ends[i] = conn.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// peer is a false CRIU.
type peer struct {
	t    *testing.T
	conn *net.UnixConn
}

// request receives a request, nil at the end of the connection.
func (p peer) request() *rpc.CriuReq {
	p.t.Helper()
	buf := make([]byte, 4096)
	p.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := p.conn.Read(buf)
	if err != nil {
		return nil
	}
	req := &rpc.CriuReq{}
	if err := req.UnmarshalVT(buf[:n]); err != nil {
		p.t.Errorf("request: %v", err)
	}
	return req
}

func (p peer) say(resp *rpc.CriuResp) {
	p.t.Helper()
	message, err := resp.MarshalVT()
	if err == nil {
		_, err = p.conn.Write(message)
	}
	if err != nil {
		p.t.Error(err)
	}
}

func (p peer) notify(script string) {
	p.say(&rpc.CriuResp{Type: new(rpc.CriuReqType_NOTIFY), Success: new(true), Notify: &rpc.CriuNotify{Script: &script}})
}

var errHook = errors.New("hook failed")

func TestDumpAsks(t *testing.T) {
	ours, theirs := pair(t)
	done := make(chan *rpc.CriuReq, 1)
	go func() {
		p := peer{t, theirs}
		done <- p.request()
		p.notify("network-lock")
		if !p.request().GetNotifySuccess() {
			t.Error("a notification without a hook was refused")
		}
		p.notify("post-dump")
		if p.request().GetNotifySuccess() {
			t.Error("a failed hook was taken for a success")
		}
		p.say(&rpc.CriuResp{Type: new(rpc.CriuReqType_DUMP), Success: new(false)})
	}()
	err := Dump(t.Context(), ours, DumpOptions{Images: "/proc/self/fd/20", LogFile: "l", LogLevel: 1, PID: 100, ScanPaths: []string{"/tmp"}},
		Hooks{PostDump: func() error { return errHook }})
	if !errors.Is(err, errHook) {
		t.Errorf("%v, want the hook's error", err)
	}
	o := (<-done).GetOpts()
	if o.GetImagesDirFd() != -1 || o.GetImagesDir() != "/proc/self/fd/20" || o.GetPid() != 100 || o.GetLeaveRunning() ||
		!o.GetUnprivileged() || !o.GetTcpEstablished() || o.GetNetworkLock() != rpc.CriuNetworkLockMethod_SKIP ||
		!o.GetFileLocks() || !o.GetForceIrmap() || o.GetGhostLimit() != 64<<20 || o.WorkDirFd != nil || !o.GetNotifyScripts() ||
		o.ManageCgroupsMode == nil || o.GetManageCgroupsMode() != rpc.CriuCgMode_IGNORE {
		t.Errorf("options %+v", o)
	}
}

// CRIU lets processes run after a failed pre-resume: it must not get an answer.
func TestFailedPreResumeIsNotAnswered(t *testing.T) {
	ours, theirs := pair(t)
	answered := make(chan bool, 1)
	go func() {
		p := peer{t, theirs}
		p.request()
		p.notify("pre-resume")
		theirs.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, err := theirs.Read(make([]byte, 100))
		answered <- !errors.Is(err, os.ErrDeadlineExceeded)
	}()
	_, err := Restore(t.Context(), ours, RestoreOptions{}, Hooks{PreResume: func() error { return errHook }})
	if !errors.Is(err, errHook) {
		t.Errorf("%v, want the hook's error", err)
	}
	if <-answered {
		t.Error("CRIU got an answer, or the end of the connection")
	}
}

func TestContextEndsDump(t *testing.T) {
	ours, theirs := pair(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan bool, 1)
	go func() {
		p := peer{t, theirs}
		p.request()
		cancel()
		ended <- p.request() == nil
	}()
	if err := Dump(ctx, ours, DumpOptions{}, Hooks{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the context's error", err)
	}
	if !<-ended {
		t.Error("CRIU does not see it")
	}
}

func TestContextEndsRestoreWithoutTellingCRIU(t *testing.T) {
	ours, theirs := pair(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { peer{t, theirs}.request(); cancel() }()
	if _, err := Restore(ctx, ours, RestoreOptions{}, Hooks{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the context's error", err)
	}
	theirs.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := theirs.Read(make([]byte, 100)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("CRIU reads %v", err)
	}
}

func TestAnswersThatAreErrors(t *testing.T) {
	dumped := &rpc.CriuResp{Type: new(rpc.CriuReqType_DUMP), Success: new(false), CrErrno: new(int32(unix.EBADRQC)),
		CrErrmsg: new("Error (criu/sk-inet.c:137): inet: Unsupported proto 262 for socket 9a\n")}
	tests := map[string]struct {
		answer func(peer)
		check  func(error) bool
	}{
		"gone":    {func(p peer) { p.conn.Close() }, func(err error) bool { return errors.Is(err, ErrGone) }},
		"garbage": {func(p peer) { p.conn.Write([]byte{0xff}) }, func(err error) bool { return err != nil }},
		"other":   {func(p peer) { p.say(&rpc.CriuResp{Type: new(rpc.CriuReqType_CHECK), Success: new(true)}) }, func(err error) bool { return err != nil }},
		"refused": {func(p peer) { p.say(dumped) }, func(err error) bool {
			var refused *Error
			return errors.As(err, &refused) && errors.Is(err, unix.EBADRQC) && refused.Message != "" && refused.Op == "dump"
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ours, theirs := pair(t)
			go func() { p := peer{t, theirs}; p.request(); test.answer(p) }()
			if err := Dump(t.Context(), ours, DumpOptions{}, Hooks{}); !test.check(err) {
				t.Errorf("error %v", err)
			}
		})
	}
}
