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

// DetachRequest makes a container outlive its client, or a process that was executed in it.
type DetachRequest struct {
	ContainerRequest
	// Process is the id of the exec request, 0 for the container.
	Process uint64 `json:"process,omitempty"`
	// Terminal tells that the message's file is not an output but the terminal.
	Terminal bool `json:"terminal,omitempty"`
}

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
	// StateRestarting is between two runs of the program of a container with a restart policy.
	StateRestarting State = "restarting"
)

// HealthState is what the health check has found.
type HealthState string

// The states of health. The zero value means that there is no check.
const (
	HealthStarting  HealthState = "starting"
	HealthHealthy   HealthState = "healthy"
	HealthUnhealthy HealthState = "unhealthy"
)

// Health tells of a container's health check.
type Health struct {
	Status HealthState `json:"status"`
	// FailingStreak counts the failures since the last success.
	FailingStreak int `json:"failing_streak,omitempty"`
	// Log has the last five checks, the oldest first.
	Log []HealthResult `json:"log,omitempty"`
}

// HealthResult is one run of a health check.
type HealthResult struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	// ExitCode is 0 for healthy, -1 if the check could not be run or took too long.
	ExitCode int `json:"exit_code"`
	// Output is at most the first 4096 bytes.
	Output string `json:"output,omitempty"`
}

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
	// Kept tells that the container has a record in the store.
	Kept bool `json:"kept,omitempty"`
	// Health is nil without a health check that is run.
	Health *Health `json:"health,omitempty"`
	// Restarts counts the starts that the restart policy has made since the last one by request.
	Restarts int `json:"restarts,omitempty"`
	// Failure is why the program could not be started the last time it was tried, or why its end is not known.
	Failure string `json:"failure,omitempty"`
	// Volumes are the mounted volumes.
	Volumes []VolumeMount `json:"volumes,omitempty"`
}

// VolumeMount is a volume in a container.
type VolumeMount struct {
	// Name is the volume's; of an anonymous one 64 hexadecimal digits.
	Name     string `json:"name"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only,omitempty"`
	// Anonymous tells that the volume was made for this container.
	Anonymous bool `json:"anonymous,omitempty"`
}
