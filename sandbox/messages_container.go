package sandbox

import "time"

// The kinds of messages about one container. But for KindCreate they name it in a [ContainerRequest].
const (
	KindCreate  = "create"  // [CreateRequest]; events KindProgress, KindHelper; done: [Info]
	KindStart   = "start"   // [StartRequest] and stdio files; event KindStarted; done: [Exit]
	KindDiscard = "discard" // [DiscardRequest]; done: nothing
	KindExec    = "exec"    // [ExecRequest] and stdio files; event KindStarted with [ExecInfo]; done: [Exit]
	KindPause   = "pause"   // [PauseRequest]; done: nothing
	KindResume  = "resume"  // [PauseRequest]; done: nothing
)

// ContainerRequest names the container that a request is about.
type ContainerRequest struct {
	// Container is the id of the request that made it.
	Container uint64 `json:"container"`
}

// Of returns the container's number.
func (r ContainerRequest) Of() uint64 { return r.Container }

// CreateRequest asks for a container whose program does not run yet.
type CreateRequest struct {
	Spec Spec `json:"spec"`
}

// StartRequest starts a container's program. Its message carries the program's stdin, stdout and stderr, or nothing with a
// terminal; with held streams what is attached to them, as in an [AttachStreamsRequest], or nothing.
type StartRequest struct {
	ContainerRequest
	// Log has the keeper read the outputs, see [Streams].
	Log bool `json:"log,omitempty"`
	// Held has the keeper hold the streams; Stdin tells that the first file is an input.
	Held  bool `json:"held,omitempty"`
	Stdin bool `json:"stdin,omitempty"`
}

// SignalRequest sends a signal to a container's first process or to another one that was executed in it.
type SignalRequest struct {
	ContainerRequest
	// Process is the id of the exec request, 0 for the first process.
	Process uint64 `json:"process,omitempty"`
	Signal  int    `json:"signal"`
}

// ExecRequest executes another program in a running container. Its message carries the program's stdin, stdout and stderr,
// or nothing with a terminal.
type ExecRequest struct {
	ContainerRequest
	Exec ExecSpec `json:"exec"`
}

// ExecInfo tells of a program that was executed in a running container.
type ExecInfo struct {
	// PID is in the container.
	PID int `json:"pid"`
}

// PauseRequest pauses or resumes a container.
type PauseRequest struct{ ContainerRequest }

// DiscardRequest ends and removes a container.
type DiscardRequest struct {
	ContainerRequest
	// Volumes has the anonymous volumes of one that is kept removed too, as those of others always are.
	Volumes bool `json:"volumes,omitempty"`
}

// Info is what is known of a container from its creation on.
type Info struct {
	// ID names the container: 64 hexadecimal digits.
	ID string `json:"id"`
	// Name is the one that was asked for, or the first twelve digits of the id.
	Name     string `json:"name"`
	Hostname string `json:"hostname"`
	// StopSignal is the number of the signal that asks the program to end.
	StopSignal int       `json:"stop_signal"`
	Image      ImageInfo `json:"image"`
	// Warnings are about what was asked for and, by leave of the request, not done.
	Warnings []string `json:"warnings,omitempty"`
	// Ports are those of the host that are bound.
	Ports []PortMapping `json:"ports,omitempty"`
	// Args, Env, User and WorkingDir are the program's, merged from the image and the Spec.
	Args       []string `json:"args"`
	Env        []string `json:"env"`
	User       string   `json:"user,omitempty"`
	WorkingDir string   `json:"working_dir"`
	// ExposedPorts are the image's, as PORT/PROTOCOL.
	ExposedPorts []string `json:"exposed_ports,omitempty"`
	// Health is the image's health check, nil without one.
	Health *Healthcheck `json:"healthcheck,omitempty"`
	// Labels are the image's and the Spec's.
	Labels map[string]string `json:"labels,omitempty"`
	// Snapshot is what the container was made from by [Client.Restore]; nil for one of [Client.Create].
	Snapshot *Snapshot `json:"snapshot,omitempty"`
}

// Healthcheck is how an image says that its program is well. The names in JSON are those of Docker's image configuration.
type Healthcheck struct {
	// Test is CMD and a command, CMD-SHELL and a line for the shell, or NONE.
	Test []string `json:"Test,omitempty"`
	// Interval, Timeout, StartPeriod and StartInterval are 0 for Docker's defaults.
	Interval      time.Duration `json:"Interval,omitempty"`
	Timeout       time.Duration `json:"Timeout,omitempty"`
	StartPeriod   time.Duration `json:"StartPeriod,omitempty"`
	StartInterval time.Duration `json:"StartInterval,omitempty"`
	// Retries is how many failures in a row make it unhealthy; 0 means Docker's default.
	Retries int `json:"Retries,omitempty"`
}
