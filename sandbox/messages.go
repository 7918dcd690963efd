package sandbox

// ProtocolVersion is what a client and its keeper must agree on. It changes whenever a message does.
const ProtocolVersion = 4

// The kinds of messages. A client opens a request with a fresh id; the keeper answers it with events of that id and one
// KindDone or KindFailed.
const (
	KindHello    = "hello"    // both ways, first: [Hello]
	KindPull     = "pull"     // [PullRequest]; events KindProgress; done: [ImageInfo]
	KindRun      = "run"      // [RunRequest] and stdio files; events KindProgress, KindStarted; done: [Exit]
	KindSignal   = "signal"   // [SignalRequest]; done: nothing
	KindCancel   = "cancel"   // of the request with the same id: what it started is ended; no answer of its own
	KindProgress = "progress" // [Progress]
	KindHelper   = "helper"   // event [HelperRequest]: the client runs a credential helper and sends KindHelped of the same id
	KindHelped   = "helped"   // [HelperResult], no answer
	KindStarted  = "started"  // of run: [Info], of start: nothing; with the terminal's file if one was asked for
	KindDone     = "done"
	KindFailed   = "failed" // [Error]
)

// Hello opens a connection.
type Hello struct {
	Protocol int    `json:"protocol"`
	Version  string `json:"version"`
	// UserNamespace is the inode number of the client's user namespace.
	UserNamespace uint64 `json:"user_namespace,omitempty"`
}

// PullRequest asks for an image in the store, with its layers unpacked.
type PullRequest struct {
	Image string       `json:"image"`
	Get   ImageOptions `json:"get,omitzero"`
}

// ImageInfo tells of an image in the store.
type ImageInfo struct {
	// Name is the full reference.
	Name string `json:"name"`
	// Digest is that of the manifest, ID that of the configuration; both are empty for rootfs: and host:.
	Digest string `json:"digest"`
	ID     string `json:"id"`
	// Notes tell what of the image could not be kept as it was, such as device nodes.
	Notes []string `json:"notes,omitempty"`
}

// Progress tells of a layer under way.
type Progress struct {
	// Layer is its digest; empty means the image itself.
	Layer string `json:"layer,omitempty"`
	// Kind is start, progress, done, exists, retry, unpack or note.
	Kind string `json:"kind"`
	// Current and Total are bytes; Total is 0 where it is not known.
	Current int64  `json:"current,omitempty"`
	Total   int64  `json:"total,omitempty"`
	Text    string `json:"text,omitempty"`
}

// HelperRequest asks the client to run a credential helper as the user that it is: keyrings refuse the keeper, which is root
// of a user namespace.
type HelperRequest struct {
	// Program is docker-credential-NAME, looked for on the client's $PATH.
	Program string `json:"program"`
	Action  string `json:"action"`
	Input   []byte `json:"input"`
}

// HelperResult is what the helper printed, and why it failed if it did.
type HelperResult struct {
	Output []byte `json:"output"`
	Failed string `json:"failed,omitempty"`
}

// RunRequest asks for a container. Its message carries the program's stdin, stdout and stderr, or nothing with a terminal.
type RunRequest struct {
	Spec Spec `json:"spec"`
}

// Exit is how a program ended.
type Exit struct {
	// Code is the program's exit code, or 128 + Signal.
	Code int `json:"code"`
	// Signal is what killed it, 0 if nothing did.
	Signal int `json:"signal,omitempty"`
	// OOMKilled tells that the kernel killed something in the container for its memory limit.
	OOMKilled bool `json:"oom_killed,omitempty"`
}
