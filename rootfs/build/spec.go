package build

import (
	"github.com/bivouac-run/bivouac/rootfs"
)

// Parallel is how many stages are worked on at once.
const Parallel = 2

// Spec says what to build. Its zero value but for Context builds the last stage of the context's Dockerfile for the machine's
// platform and gives the image no name.
type Spec struct {
	// Context is the absolute path of a directory, or of a tar archive, compressed or not; empty is an empty context.
	Context string
	// Contexts are further ones by name: paths as above, or docker-image://REFERENCE. They come before stages and images of the name.
	Contexts map[string]string
	// Dockerfile is a path in the context; empty means Dockerfile, or Containerfile where that alone is there. Text, if it is not
	// empty, is used instead of any file.
	Dockerfile, Text string
	// Names are references for the image.
	Names []rootfs.Reference
	// Target is a stage's name or number; empty means the last one.
	Target string
	// Args are build arguments.
	Args map[string]string
	// Labels are added to the image's.
	Labels map[string]string
	// Platform is os/architecture[/variant]; empty means the machine's.
	Platform string
	// Network is what RUN can reach: host, also the meaning of "", or none. It is part of a key.
	Network string
	// NoCache runs every step, NoCacheStages those of stages by name or number.
	NoCache       bool
	NoCacheStages []string
	// CacheFrom and CacheTo are references of registries.
	CacheFrom, CacheTo []string
	// Secrets are values for RUN --mount=type=secret by id, SSH paths of agents' sockets for type=ssh by id.
	Secrets map[string][]byte
	SSH     map[string]string
	// SourceDateEpoch, if not nil, is in seconds since 1970.
	SourceDateEpoch *int64
	// Squash makes one layer of all that the target adds to its base image.
	Squash bool
	// Loose leaves the image out of the store: the result has Layers, Config and RawConfig, no Digest. It is for exporting files.
	Loose bool
	// RunKey is what else changes what RUN does, such as hosts and limits that programs see. It is part of a key.
	RunKey string
}

// EventKind says what an [Event] reports.
type EventKind string

// The kinds of events. A step has Start once, then anything but Start, and one of the last three. A warning may come afterwards.
const (
	EventStart    EventKind = "start"
	EventLog      EventKind = "log"
	EventProgress EventKind = "progress"
	EventWarning  EventKind = "warning"
	EventCached   EventKind = "cached"
	EventDone     EventKind = "done"
	EventFailed   EventKind = "failed"
)

// Event tells of one step.
type Event struct {
	// Step numbers the steps from 1 on, as they stand in the Dockerfile: the same in every build of it.
	Step int
	Kind EventKind
	// Name is the step's, with Start: [build 2/4] RUN make.
	Name string
	// Text is output of a program for Log, a sentence for Warning and Failed. Stream is stdout or stderr, with Log.
	Text   []byte
	Stream string
	// Current and Total are bytes of a transfer, with Progress; Layer is its digest.
	Current, Total int64
	Layer          string
}
