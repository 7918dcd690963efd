package sandbox

import (
	"context"
	"os"
)

// Detach makes the container outlive this client: the keeper goes on until the container is discarded, by `bivouac rm` for
// example. The client's other containers end with it as ever. The outputs are the reading ends of pipes that the program
// writes to, which the keeper reads into the container's log from then on, so that the program does not end by SIGPIPE when this process does; the
// caller reads no more of them. The second one counts as the standard error. Of a program with a terminal it is the terminal
// that the keeper takes over, for [Container.AttachStreams].
//
// Errors: CodeAlreadyFinished after Discard; CodeBadConfig if other commands could not find the container.
func (ct *Container) Detach(ctx context.Context, outputs ...*os.File) error {
	request := DetachRequest{ContainerRequest: ct.request(), Terminal: ct.inTerminal && len(outputs) > 0}
	err := ct.client.ask(ctx, KindDetach, request, nil, outputs...)
	if err == nil && ct.client.keeper != nil && ct.client.detached.CompareAndSwap(false, true) {
		go func() { _ = ct.client.keeper.Wait() }() // how it ends one day matters to nobody here
	}
	return err
}

// DiscardAtEnd has the keeper discard the container when the program that was started last has ended, also if this client
// is gone by then, for a detached one. Where it has ended already that is done at once. A checkpoint that stops the program
// only to start it again does not count as its end.
//
// Errors: CodeNotRunning before the first start, CodeAlreadyFinished after Discard.
func (ct *Container) DiscardAtEnd(ctx context.Context) error {
	return ct.client.ask(ctx, KindDiscardAtEnd, DiscardAtEndRequest{ct.request()}, nil)
}

// Detach has the process go on without this client, until its own end or the container's. The keeper takes its terminal over,
// whose output nobody sees any more; the caller reads no more of it.
//
// Errors: CodeAlreadyFinished.
func (p *Process) Detach(ctx context.Context, terminal *os.File) error {
	request := DetachRequest{ContainerRequest: p.container.request(), Process: p.id, Terminal: true}
	return p.container.client.ask(ctx, KindDetach, request, nil, terminal)
}
