package sandbox

import (
	"context"
	"os"
)

// Open makes a container that is kept one of this client's: its root file system is mounted, and it can be started, read,
// copied to, committed and removed. It goes back to the store when the client ends, unless it was detached and runs.
//
// Errors: CodeNotFound; CodeInUse if another keeper has it, to which [Attach] connects; those of [Client.Create].
func (c *Client) Open(ctx context.Context, id string) (*Container, error) {
	r, err := c.request(KindOpen, OpenRequest{ID: id})
	if err != nil {
		return nil, err
	}
	m, err := c.skipProgress(ctx, r, nil)
	if err != nil {
		return nil, err
	}
	var st Status
	if err := m.Decode(&st); err != nil {
		return nil, err
	}
	return &Container{Info: st.Info, client: c, id: r.id}, nil
}

// RemoveContainer removes a container that is kept and that no keeper has, with its anonymous volumes if those are asked for.
// It also removes what is left of one whose record cannot be read.
//
// Errors: CodeNotFound, CodeInUse.
func (c *Client) RemoveContainer(ctx context.Context, id string, volumes bool) error {
	return c.ask(ctx, KindRemoveContainer, RemoveContainerRequest{ID: id, Volumes: volumes}, nil)
}

// Status tells what becomes of the container.
//
// Errors: CodeAlreadyFinished after Discard.
func (ct *Container) Status(ctx context.Context) (Status, error) {
	var s Status
	err := ct.client.ask(ctx, KindStatus, StatusRequest{ct.request()}, &s)
	return s, err
}

// Config returns the Spec that the container was made from, with what [Container.Update] has changed.
func (ct *Container) Config(ctx context.Context) (Spec, error) {
	var s Spec
	err := ct.client.ask(ctx, KindConfig, StatusRequest{ct.request()}, &s)
	return s, err
}

// Rename gives the container another name.
//
// Errors: CodeNameInUse, CodeInvalid.
func (ct *Container) Rename(ctx context.Context, name string) error {
	return ct.client.ask(ctx, KindRename, RenameRequest{ct.request(), name}, nil)
}

// Update changes limits and restart policy, of a program that runs at once. The warnings are about limits that with best effort
// are not enforced.
//
// Errors: CodeLimits, CodeInvalid.
func (ct *Container) Update(ctx context.Context, u UpdateSpec) (warnings []string, err error) {
	var done Updated
	err = ct.client.ask(ctx, KindUpdate, UpdateRequest{ct.request(), u}, &done)
	return done.Warnings, err
}

// Stop asks the program to end, kills it after the grace, and returns how it ended. No restart policy starts it again. Where
// it has ended already, that is no error.
//
// Errors: CodeNotRunning before the first start.
func (ct *Container) Stop(ctx context.Context, s StopSpec) (Exit, error) {
	var exit Exit
	err := ct.client.ask(ctx, KindStop, StopRequest{ct.request(), s}, &exit)
	return exit, err
}

// AttachSpec says what to connect with the streams of a program.
type AttachSpec struct {
	// Stdin is read from, and Stdout and Stderr are written to; each may be nil. With a terminal, Stderr is not used.
	Stdin, Stdout, Stderr *os.File
	// Replay first writes what the log has of this run of the program.
	Replay bool
	// Size is given to the terminal once the files are connected, also if it has it already: most programs then show again what
	// was on their screen. Nil leaves it as it is.
	Size *TerminalSize
}

// AttachStreams connects files to the streams of the program, which was started with [Streams.Held], until the program or ctx
// ends, or the end of the input has come and all of the outputs are closed. Several may be attached at once. The end of ctx
// leaves the program running.
//
// Errors: CodeInvalid for a program that was started otherwise, CodeNotRunning, CodeAlreadyFinished.
func (ct *Container) AttachStreams(ctx context.Context, a AttachSpec) error {
	files, err := Streams{Stdin: a.Stdin, Stdout: a.Stdout, Stderr: a.Stderr}.attached()
	if err != nil {
		return err
	}
	r, err := ct.client.request(KindAttachStreams, AttachStreamsRequest{ct.request(), a.Stdin != nil, a.Replay, a.Size}, files...)
	if err != nil {
		return err
	}
	for {
		m, err := ct.client.next(ctx, r)
		if err != nil || m.Kind == KindDone {
			return err
		}
	}
}

// ResizeTerminal changes the size of the terminal of a program that was started with [Streams.Held].
//
// Errors: CodeInvalid without one.
func (ct *Container) ResizeTerminal(ctx context.Context, size TerminalSize) error {
	return ct.client.ask(ctx, KindResizeTerminal, ResizeTerminalRequest{ct.request(), size}, nil)
}
