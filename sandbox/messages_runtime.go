package sandbox

import "time"

// The kinds of messages for connections beside the one whose client started the keeper.
const (
	KindAttach = "attach" // [AttachRequest], on a container's own socket; done: [Status]
	KindWait   = "wait"   // [WaitRequest]; done: [Exit]
	KindDetach = "detach" // [DetachRequest] and outputs for the keeper to read; done: nothing
	KindLogs   = "logs"   // [LogsRequest] and a pipe to write to; event KindCopying; done: nothing

	KindDiscardAtEnd = "discard-at-end" // [DiscardAtEndRequest]; done: nothing
)

// AttachRequest makes the socket's container the one that the request's id names.
type AttachRequest struct{}

// WaitRequest waits for the end of the program that was started last.
type WaitRequest struct{ ContainerRequest }

// DetachRequest makes a container outlive its client.
type DetachRequest struct{ ContainerRequest }

// LogsRequest has the keeper write a container's log to a pipe, a [LogEntry] in JSON on each line.
type LogsRequest struct {
	ContainerRequest
	Spec LogsSpec `json:"spec"`
}

// DiscardAtEndRequest has the keeper discard a container at the end of its program.
type DiscardAtEndRequest struct{ ContainerRequest }

// State is what a container's program does.
type State string

// The states.
const (
	StateCreated State = "created" // its program was not started yet
	StateRunning State = "running"
	StatePaused  State = "paused"
	StateExited  State = "exited"
)

// Status tells of a container what changes.
type Status struct {
	Info
	State State `json:"state"`
	// Created, Started and Finished are times of the container and of the program that was started last, zero before.
	Created  time.Time `json:"created"`
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	// Exit is how the program ended, while State is exited.
	Exit Exit `json:"exit,omitzero"`
}
