package sandbox

import "time"

// The kinds of messages about containers that are kept, and about what outlives single programs.
const (
	KindOpen            = "open"             // [OpenRequest]; done: [Status]; the request's id then names the container
	KindRemoveContainer = "remove-container" // [RemoveContainerRequest]; done: nothing
	KindRename          = "rename"           // [RenameRequest]; done: nothing
	KindUpdate          = "update"           // [UpdateRequest]; done: [Updated]
	KindStop            = "stop"             // [StopRequest]; done: [Exit]
	KindStatus          = "status"           // [StatusRequest]; done: [Status]
	KindConfig          = "config"           // [StatusRequest]; done: [Spec]
	KindAttachStreams   = "attach-streams"   // [AttachStreamsRequest] and files; done: nothing
	KindResizeTerminal  = "resize-terminal"  // [ResizeTerminalRequest]; done: nothing
)

// OpenRequest opens a container that is kept and that no other keeper has.
type OpenRequest struct {
	ID string `json:"id"`
}

// RemoveContainerRequest removes a container that is kept and that no other keeper has.
type RemoveContainerRequest struct {
	ID      string `json:"id"`
	Volumes bool   `json:"volumes,omitempty"`
}

// RenameRequest gives a container another name.
type RenameRequest struct {
	ContainerRequest
	Name string `json:"name"`
}

// UpdateRequest changes limits and the restart policy.
type UpdateRequest struct {
	ContainerRequest
	Update UpdateSpec `json:"update"`
}

// Updated tells what an update could not do, by leave of the request.
type Updated struct {
	Warnings []string `json:"warnings,omitempty"`
}

// StopRequest asks the program to end, and kills it after a time.
type StopRequest struct {
	ContainerRequest
	Stop StopSpec `json:"stop"`
}

// StatusRequest asks for what changes.
type StatusRequest struct{ ContainerRequest }

// AttachStreamsRequest connects the message's files to the streams of a running program: the reading end of its input if
// Stdin, then the writing ends of its output and its error output, of which a terminal has only the first.
type AttachStreamsRequest struct {
	ContainerRequest
	Stdin bool `json:"stdin,omitempty"`
	// Replay first writes what the log has of this run of the program.
	Replay bool `json:"replay,omitempty"`
	// Size is that which the terminal gets then, with which programs show again what was on their screen.
	Size *TerminalSize `json:"size,omitempty"`
}

// ResizeTerminalRequest changes the size of a held terminal.
type ResizeTerminalRequest struct {
	ContainerRequest
	Size TerminalSize `json:"size"`
}

// UpdateSpec says what to change of a container. What is nil stays.
type UpdateSpec struct {
	// Limits replace those there are as a whole.
	Limits  *Limits        `json:"limits,omitempty"`
	Restart *RestartPolicy `json:"restart,omitempty"`
}

// StopSpec says how a program is asked to end.
type StopSpec struct {
	// Signal is a number; 0 means the container's stop signal.
	Signal int `json:"signal,omitempty"`
	// Grace is how long the program may take until it is killed; 0 kills at once, negative waits without end.
	Grace time.Duration `json:"grace"`
}

// Record is all that the store has of a kept container: what its container.json and state.json hold.
type Record struct {
	Status
	Spec Spec `json:"spec"`
	// IDMap is the key of the id mapping that its files belong to.
	IDMap string `json:"id_map"`
	// Layers are the diff IDs of its image's layers, the lowest first.
	Layers []string `json:"layers,omitempty"`
}
