package sandbox

import "time"

// BuildRequest builds an image.
type BuildRequest struct {
	Spec BuildSpec `json:"spec"`
}

// BuildSpec says what to build. Its zero value but for Context builds the last stage of the context's Dockerfile and gives the
// image no name.
type BuildSpec struct {
	// Context is the absolute path of a directory, or of a tar archive, compressed or not.
	Context string `json:"context"`
	// Contexts are further ones by name: directories, images as docker-image://REFERENCE, or other stages' names.
	Contexts map[string]string `json:"contexts,omitempty"`
	// Dockerfile is a path in the context; empty means Dockerfile, or Containerfile where that alone is there. Text, if it is not empty,
	// is used instead of any file.
	Dockerfile string `json:"dockerfile,omitempty"`
	Text       string `json:"text,omitempty"`
	// Names are references for the image.
	Names []string `json:"names,omitempty"`
	// Target is a stage's name or number; empty means the last one.
	Target string `json:"target,omitempty"`
	// Args are build arguments; nil takes none from anywhere.
	Args map[string]string `json:"args,omitempty"`
	// Labels are added to the image's.
	Labels map[string]string `json:"labels,omitempty"`
	// Platform is os/architecture[/variant]; empty means the machine's.
	Platform string       `json:"platform,omitempty"`
	Get      ImageOptions `json:"get,omitzero"`
	// Network is what RUN can reach: host, also the meaning of "", or none.
	Network Network `json:"network,omitempty"`
	// NoCache runs every step, NoCacheStages those of some stages.
	NoCache       bool     `json:"no_cache,omitempty"`
	NoCacheStages []string `json:"no_cache_stages,omitempty"`
	// CacheFrom and CacheTo are references of registries from which steps are taken and to which they are pushed.
	CacheFrom []string `json:"cache_from,omitempty"`
	CacheTo   []string `json:"cache_to,omitempty"`
	// Secrets and SSH are what RUN --mount=type=secret and type=ssh can have, by id. They are in no layer and no cache key.
	Secrets []BuildSecret `json:"secrets,omitempty"`
	SSH     []BuildSSH    `json:"ssh,omitempty"`
	// SourceDateEpoch, if not nil, is the image's time of creation, and the latest that a file of its layers can have, in seconds
	// since 1970: equal inputs then give an image of the same digest.
	SourceDateEpoch *int64 `json:"source_date_epoch,omitempty"`
	// Output, if not empty, is where the files of the target go: type=local,dest=DIR or type=tar,dest=FILE, absolute; the image
	// then is not in the store. With type=oci|docker,dest=FILE the image is there, and in an archive too.
	Output string `json:"output,omitempty"`
	// Ulimits, AddHosts (NAME:IP), ShmSize (bytes) and Limits are those of RUN.
	Ulimits  []Ulimit `json:"ulimits,omitempty"`
	AddHosts []string `json:"add_hosts,omitempty"`
	ShmSize  int64    `json:"shm_size,omitempty"`
	Limits   Limits   `json:"limits,omitzero"`
	// Squash makes one layer of all that the target adds to its base image.
	Squash bool `json:"squash,omitempty"`
}

// BuildSecret is a file for RUN --mount=type=secret.
type BuildSecret struct {
	ID string `json:"id"`
	// Value is the content; at most 500 KB.
	Value []byte `json:"value"`
}

// BuildSSH is an agent for RUN --mount=type=ssh.
type BuildSSH struct {
	// ID is default unless given.
	ID string `json:"id"`
	// Socket is the agent's, absolute.
	Socket string `json:"socket"`
}

// BuildEvent tells of one step of a build.
type BuildEvent struct {
	// Step numbers the steps from 1 on, in the order in which they are first told of.
	Step int `json:"step"`
	// Kind is start, log, progress, warning, cached, done or failed; the last three end a step.
	Kind string    `json:"kind"`
	Time time.Time `json:"time"`
	// Name is the step's, with start: [stage 2/5] RUN make.
	Name string `json:"name,omitempty"`
	// Text is what RUN has written, or why a step failed. Stream tells which, as in [LogEntry].
	Text   []byte `json:"text,omitempty"`
	Stream string `json:"stream,omitempty"`
	// Current and Total are bytes of a transfer, with progress; Layer is its digest.
	Current int64  `json:"current,omitempty"`
	Total   int64  `json:"total,omitempty"`
	Layer   string `json:"layer,omitempty"`
}
