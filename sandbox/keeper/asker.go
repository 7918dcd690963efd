package keeper

import (
	"context"
	"errors"
	"sync"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// asker is a request's way back to the caller while the request is under way.
type asker struct {
	s   *server
	ctx context.Context
	id  uint64
	one sync.Mutex // helper at a time
}

func (s *server) asker(ctx context.Context, id uint64) *asker { return &asker{s: s, ctx: ctx, id: id} }

// progress reports. A failure to send means that the caller is gone, which ends everything anyway.
func (a *asker) progress(p sandbox.Progress) { _ = a.s.conn.Send(a.id, sandbox.KindProgress, p) }

// help has the caller run a credential helper.
func (a *asker) help(program, action string, input []byte) ([]byte, error) {
	a.one.Lock()
	defer a.one.Unlock()
	answer := make(chan sandbox.HelperResult, 1)
	a.s.mu.Lock()
	a.s.helped[a.id] = answer
	a.s.mu.Unlock()
	if err := a.s.conn.Send(a.id, sandbox.KindHelper, sandbox.HelperRequest{Program: program, Action: action, Input: input}); err != nil {
		return nil, err
	}
	select {
	case r := <-answer:
		if r.Failed != "" {
			return r.Output, errors.New(r.Failed)
		}
		return r.Output, nil
	case <-a.ctx.Done():
		return nil, a.ctx.Err()
	}
}

// deliverHelp hands a helper's result to the request that waits for it.
func (s *server) deliverHelp(m *wire.Message) {
	var r sandbox.HelperResult
	if err := m.Decode(&r); err != nil {
		r.Failed = err.Error()
	}
	s.mu.Lock()
	answer := s.helped[m.ID]
	delete(s.helped, m.ID)
	s.mu.Unlock()
	if answer != nil {
		answer <- r
	}
}
