package sandbox

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Tier is what a checkpoint holds.
type Tier string

// The tiers.
const (
	TierFiles     Tier = "files"     // changed files; a clone starts its program anew on them
	TierProcesses Tier = "processes" // running processes as well, with their memory
)

// Quality is how a checkpoint's files were taken.
type Quality string

// The qualities. With [TierProcesses] the files are live and yet complete: what was not written yet is in the memory that
// goes with them.
const (
	QualityClean Quality = "clean" // the program was asked to end and had ended; also the meaning of ""
	QualityLive  Quality = "live"  // the program was stopped for a moment: as after a crash of it
)

// ProcessPolicy says whether processes are checkpointed.
type ProcessPolicy string

// The policies.
const (
	ProcessesAuto     ProcessPolicy = ""         // where that is possible; otherwise files, and [Snapshot.Fallback] says why
	ProcessesRequired ProcessPolicy = "required" // or fail
	ProcessesNever    ProcessPolicy = "never"
)

// CheckpointSpec says what a checkpoint is to hold. The zero value is processes where that is possible, otherwise clean
// files, without a name; the container's program has ended afterwards.
type CheckpointSpec struct {
	// Name names the snapshot in the store for people; another one of that name loses it. Empty means none.
	Name string `json:"name,omitempty"`
	// Claim is [Claim.ID] of the content key that this is the snapshot of, empty for none. The snapshot is listed and used by
	// others only after [Claim.Commit].
	Claim string `json:"claim,omitempty"`
	// Processes says whether processes go with the files.
	Processes ProcessPolicy `json:"processes,omitempty"`
	// Quality is that of the files where no processes go with them; empty means clean.
	Quality Quality `json:"quality,omitempty"`
	// Fallback becomes that of the [Snapshot], from a caller who has found out that processes will not do.
	Fallback string `json:"fallback,omitempty"`
	// LeaveRunning has the container go on as if nothing had happened. Clean files without processes then mean that its
	// program is started again.
	LeaveRunning bool `json:"leave_running,omitempty"`
	// OmitMounts leaves out what is in memory file systems (/dev/shm among them): those of clones are empty. With processes
	// they are always there. Bind mounts are never copied: a clone has the same ones.
	OmitMounts bool `json:"omit_mounts,omitempty"`
	// Ephemeral keeps the snapshot in memory, for this client alone, until the client is closed or it is removed.
	Ephemeral bool `json:"ephemeral,omitempty"`
	// StopTimeout is how long a program that was asked to end may take before it is killed; 0 means 10 seconds.
	StopTimeout time.Duration `json:"stop_timeout,omitempty"`
}

// Snapshot is a checkpoint in the store.
type Snapshot struct {
	// ID is 64 hexadecimal digits.
	ID string `json:"id"`
	// Name is the one that was given, Key the content key, if any.
	Name string `json:"name,omitempty"`
	Key  string `json:"key,omitempty"`

	Image   ImageInfo `json:"image"`
	Tier    Tier      `json:"tier"`
	Quality Quality   `json:"quality"`
	// Fallback says why there are no processes in it although they were wanted.
	Fallback string `json:"fallback,omitempty"`

	Created time.Time `json:"created"`
	// Used is when a container was last made from it.
	Used time.Time `json:"used"`
	// Size is the bytes on the disk that are this snapshot's own, MemorySize the part of it that is processes' memory.
	Size       int64 `json:"size"`
	MemorySize int64 `json:"memory_size,omitempty"`
	// Processes is how many there are in it. Kernel and CRIU are the versions that it was made with, CPU names the
	// processor's features; a snapshot with processes is only used with the same.
	Processes int    `json:"processes,omitempty"`
	Kernel    string `json:"kernel,omitempty"`
	CRIU      string `json:"criu,omitempty"`
	CPU       string `json:"cpu,omitempty"`

	// Spec is that of the container.
	Spec Spec `json:"spec"`
	// Listening are the TCP ports and the unix sockets on which the processes listened.
	Listening []Listener `json:"listening,omitempty"`
	// Ephemeral tells that it is in memory, and this client's alone.
	Ephemeral bool `json:"ephemeral,omitempty"`
}

// RestoreSpec says what a clone has of its own. Everything else is as in the container that was checkpointed.
type RestoreSpec struct {
	// Snapshot is a name, an id, or the beginning of an id that no other has.
	Snapshot string `json:"snapshot"`
	// Name, Hostname, Labels and Listed are those of [Spec]; names are never taken from the original.
	Name     string            `json:"name,omitempty"`
	Hostname string            `json:"hostname,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Listed   bool              `json:"listed,omitempty"`
	// Publish replaces the original's ports, whose numbers on the host are not taken over: nil publishes the same ports of
	// the container on free ports of the host.
	Publish []PortMapping `json:"publish,omitempty"`
	// PublishAll publishes, besides a Publish that is not nil, every port that the image exposes.
	PublishAll bool `json:"publish_all,omitempty"`
	HoldPorts  bool `json:"hold_ports,omitempty"`
	// MachineClock shows the clone's processes that time has passed: their monotonic clock goes on with the machine's.
	// Otherwise it goes on where the checkpoint stopped it (time namespaces, Linux 5.6).
	MachineClock bool `json:"machine_clock,omitempty"`
	// Limits replace the original's if not nil.
	Limits *Limits `json:"limits,omitempty"`
}

// Checkpoint makes a snapshot of the container. The container must have been made with Spec.Checkpointable for its
// processes to be in it. One that was made from a snapshot can be checkpointed again.
//
// Where it fails, the container goes on; no snapshot is left.
//
// Errors: CodeCheckpoint if the processes were required and cannot be had, with the process and the resource that
// prevent it; CodeNoSpace; CodeNotRunning; CodeAlreadyFinished.
func (ct *Container) Checkpoint(ctx context.Context, spec CheckpointSpec) (Snapshot, error) {
	var s Snapshot
	err := ct.client.ask(ctx, KindCheckpoint, CheckpointRequest{ContainerRequest: ct.request(), Spec: spec}, &s)
	return s, err
}

// Restore makes a container from a snapshot, which [Container.Start] brings back to life: from then on its processes run
// as they did, or for [TierFiles] its program is started. After the program's end Start starts it anew.
//
// Errors: CodeNotFound; CodeStale if the snapshot is damaged or was made with another kernel, processor or CRIU; those
// of [Client.Create].
func (c *Client) Restore(ctx context.Context, spec RestoreSpec) (*Container, error) {
	r, err := c.request(KindRestore, RestoreRequest{Spec: spec})
	if err != nil {
		return nil, err
	}
	m, err := c.skipProgress(ctx, r, nil)
	if err != nil {
		return nil, err
	}
	ct := &Container{client: c, id: r.id}
	if err := m.Decode(&ct.Info); err != nil {
		return nil, err
	}
	return ct, nil
}

// Reset puts a container that was made from a snapshot back to it: what runs is killed, changed files are discarded, and
// it is brought back to life as by [Client.Restore] and Start. Its addresses stay.
//
// Errors: CodeInvalid for a container that was not made from a snapshot; those of [Container.Start].
func (ct *Container) Reset(ctx context.Context, s Streams) error {
	files, err := s.files(ct.inTerminal)
	if err != nil {
		return err
	}
	r, m, err := ct.client.requestStart(ctx, KindReset, ResetRequest{ct.request(), s.Log}, files)
	if err != nil {
		return err
	}
	return ct.started(r, m)
}

// Claim is the right to make the snapshot of a content key, or the knowledge that it is there.
type Claim struct {
	// ID names the claim, and is the content key.
	ID string `json:"id"`
	// Snapshot is there if the key has one that can be used; nil means that the claimer is to make it, while everybody else
	// who asks for the key waits for Commit or Abandon.
	Snapshot *Snapshot `json:"snapshot,omitempty"`

	client *Client
}

// ClaimSpec is what a content key is made of, besides the image's digest and, where processes go with it, the kernel's
// version, the processor's features and CRIU's version.
type ClaimSpec struct {
	// Spec is the container's. What does not matter to a clone (Name, Hostname, Labels, the host's ports) is left out of the
	// key.
	Spec Spec `json:"spec"`
	// Processes and Quality are those of the [CheckpointSpec].
	Processes ProcessPolicy `json:"processes,omitempty"`
	Quality   Quality       `json:"quality,omitempty"`
	// Parts are anything else that the content depends on: keys of preparing steps, digests of files.
	Parts []string `json:"parts,omitempty"`
}

// Claim looks for the snapshot of a content key. Where there is none it returns as soon as nobody else is making it,
// with the right to do so. The right ends with Commit, Abandon or the client, however that ends. A stale or damaged
// snapshot is removed and counts as none.
//
// Errors: those of [Client.Pull].
func (c *Client) Claim(ctx context.Context, spec ClaimSpec, progress func(Progress)) (*Claim, error) {
	r, err := c.request(KindClaim, ClaimRequest{Spec: spec})
	if err != nil {
		return nil, err
	}
	m, err := c.skipProgress(ctx, r, progress)
	if err != nil {
		return nil, err
	}
	claim := &Claim{client: c}
	if err := m.Decode(claim); err != nil {
		return nil, err
	}
	return claim, nil
}

// Commit lists the snapshot that was made for the claim, for everybody.
//
// Errors: CodeNotFound if there was no checkpoint for the claim.
func (cl *Claim) Commit(ctx context.Context) (Snapshot, error) {
	var s Snapshot
	err := cl.client.ask(ctx, KindCommitClaim, ClaimedRequest{ID: cl.ID}, &s)
	return s, err
}

// Abandon gives the claim up, with what was made for it. After Commit it does nothing.
func (cl *Claim) Abandon(ctx context.Context) error {
	return cl.client.ask(ctx, KindAbandonClaim, ClaimedRequest{ID: cl.ID}, nil)
}

// Snapshots lists the store's snapshots, the newest first, and this client's ephemeral ones.
func (c *Client) Snapshots(ctx context.Context) ([]Snapshot, error) {
	var list []Snapshot
	err := c.ask(ctx, KindSnapshots, SnapshotsRequest{}, &list)
	return list, err
}

// Snapshot finds one by its name, its id, or the beginning of an id that no other has.
//
// Errors: CodeNotFound; CodeInvalid if several match.
func (c *Client) Snapshot(ctx context.Context, snapshot string) (Snapshot, error) {
	var s Snapshot
	err := c.ask(ctx, KindSnapshot, SnapshotRequest{Snapshot: snapshot}, &s)
	return s, err
}

// RemoveSnapshot removes a snapshot.
//
// Errors: CodeNotFound; CodeInUse while containers are made from it.
func (c *Client) RemoveSnapshot(ctx context.Context, snapshot string) error {
	return c.ask(ctx, KindRemoveSnapshot, SnapshotRequest{Snapshot: snapshot}, nil)
}

// ExportSnapshot returns a snapshot, with all layers of it that are not its image's, as a tar stream. Closing the stream
// ends the work. A stream that ends early ends in an error, not in io.EOF.
//
// Errors: CodeNotFound, CodeStale.
func (c *Client) ExportSnapshot(ctx context.Context, snapshot string) (io.ReadCloser, error) {
	return c.openArchive(ctx, fmt.Sprintf("export snapshot %q", snapshot), KindExportSnapshot, SnapshotRequest{Snapshot: snapshot})
}

// ImportSnapshot stores what ExportSnapshot has returned, under another name unless that is empty. Its image is pulled
// when a container is made from it.
//
// Errors: CodeBadArchive, CodeNoSpace; CodeStale if it was made with another id map.
func (c *Client) ImportSnapshot(ctx context.Context, tar io.Reader, name string) (Snapshot, error) {
	var s Snapshot
	err := c.sendArchive(ctx, "import a snapshot", KindImportSnapshot, ImportSnapshotRequest{Name: name}, tar, &s)
	return s, err
}
