package sandbox

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// The names of what a container that is kept has in the store, in its directory that is called by its id.
const (
	RecordFile = "container.json" // [RecordFixed]; a directory without it is none of a container
	StateFile  = "state.json"     // [RecordState]
	LockFile   = "lock"           // flock(2)ed by the keeper that has the container
	NamesDir   = "names"          // beside the containers: a symlink for each name
	LogPrefix  = "log."           // of the log's files, and then a number that counts up
)

// RecordFixed is what of a container changes seldom.
type RecordFixed struct {
	// Version is RecordVersion.
	Version int       `json:"version"`
	Info    Info      `json:"info"`
	Spec    Spec      `json:"spec"`
	Created time.Time `json:"created"`
	// IDMap is the key of the id mapping that its files belong to.
	IDMap string `json:"id_map"`
	// Layers are the diff IDs of the image's layers, the lowest first.
	Layers []string `json:"layers,omitempty"`
	// Volumes are the mounted ones.
	Volumes []VolumeMount `json:"volumes,omitempty"`
}

// RecordVersion is raised when what is in a [RecordFixed] changes its meaning.
const RecordVersion = 1

// RecordState is what changes with the container's program.
type RecordState struct {
	State    State     `json:"state"`
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	Exit     Exit      `json:"exit,omitzero"`
	Health   *Health   `json:"health,omitempty"`
	Restarts int       `json:"restarts,omitempty"`
	Failure  string    `json:"failure,omitempty"`
	// Ports are the host's that are bound.
	Ports []PortMapping `json:"ports,omitempty"`
	// Sockets is the directory of the container's socket.
	Sockets string `json:"sockets,omitempty"`
}

// Running tells whether a keeper has to be there for what the record says.
func (s State) Running() bool { return s == StateRunning || s == StatePaused || s == StateRestarting }

// LostExit is the exit code of a program whose keeper was killed with it.
const LostExit = 255

// Lost makes the state that of a program whose keeper is gone, at the time it was last heard of.
func (s *RecordState) Lost(why string, at time.Time) {
	s.State, s.Exit, s.Failure, s.Finished = StateExited, Exit{Code: LostExit}, why, at
	s.Ports, s.Health = nil, nil
}

// ContainersDir is the directory of the store for containers that are kept. It need not exist.
func ContainersDir() (string, error) {
	return inStore("containers")
}

// IsContainerID tells whether a text is a container's whole id.
func IsContainerID(text string) bool {
	return len(text) == 64 && strings.Trim(text, "0123456789abcdef") == ""
}

// Records returns the records of all containers that are kept, the newest first, as [ReadRecord] does.
func Records() ([]Record, error) {
	dir, entries, err := listStore("containers")
	if err != nil {
		return nil, err
	}
	r := &records{dir: dir}
	defer r.close()
	var list []Record
	for _, e := range entries {
		if !IsContainerID(e.Name()) {
			continue
		}
		if one, ok := r.read(e.Name()); ok {
			list = append(list, one)
		}
	}
	slices.SortFunc(list, func(a, b Record) int {
		return cmp.Or(b.Created.Compare(a.Created), strings.Compare(a.ID, b.ID))
	})
	return list, nil
}

// ReadRecord returns what the store has of a container that is kept. A program that runs by its record, but has no keeper any
// more, has exited, with [LostExit]; so has that of a container whose record cannot be read, which Failure tells.
//
// Errors: CodeNotFound.
func ReadRecord(id string) (Record, error) {
	dir, err := ContainersDir()
	if err != nil {
		return Record{}, err
	}
	r := &records{dir: dir}
	defer r.close()
	if IsContainerID(id) {
		if one, ok := r.read(id); ok {
			return one, nil
		}
	}
	return Record{}, notFound(id)
}

func notFound(container string) *Error {
	return Errorf(CodeNotFound, "find container %q: none has that name or id", container).WithRemedy("see bivouac ps -a")
}
