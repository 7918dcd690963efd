package sandbox

import "time"

// The kinds of messages about volumes.
const (
	KindCreateVolume = "create-volume" // [CreateVolumeRequest]; done: [Volume]
	KindRemoveVolume = "remove-volume" // [RemoveVolumeRequest]; done: [RemovedVolume]
)

// CreateVolumeRequest makes a volume, or returns the one there is.
type CreateVolumeRequest struct {
	// Name is empty for an anonymous one, which gets 64 hexadecimal digits.
	Name   string            `json:"name,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	// Ephemeral has the volume removed when the client ends.
	Ephemeral bool `json:"ephemeral,omitempty"`
}

// RemoveVolumeRequest removes a volume that no container has.
type RemoveVolumeRequest struct {
	Name string `json:"name"`
	// Measure asks how much it took of the disk.
	Measure bool `json:"measure,omitempty"`
}

// RemovedVolume is a volume that was removed.
type RemovedVolume struct {
	// Bytes are those of the disk, if they were asked for.
	Bytes int64 `json:"bytes"`
}

// Volume is a directory that containers share and that outlives them.
type Volume struct {
	Name string `json:"name"`
	// Path is the directory of its files. They belong to the ids of containers.
	Path    string            `json:"path"`
	Created time.Time         `json:"created"`
	Labels  map[string]string `json:"labels,omitempty"`
	// Anonymous tells that it was made without a name.
	Anonymous bool `json:"anonymous,omitempty"`
	// Ephemeral tells that it goes with its last user.
	Ephemeral bool `json:"ephemeral,omitempty"`
	// Users are the ids of the containers that have it, running or not, and of clients that made an ephemeral one; only
	// [Volumes] tells them.
	Users []string `json:"users,omitempty"`
}
