package sandbox

// The kinds of messages about checkpoints.
const (
	KindCheckpoint     = "checkpoint"      // [CheckpointRequest]; done: [Snapshot]
	KindRestore        = "restore"         // [RestoreRequest]; events KindProgress, KindHelper; done: [Info]; the request's id then names the container
	KindReset          = "reset"           // [ResetRequest] and stdio files; event KindStarted; done: [Exit]
	KindClaim          = "claim"           // [ClaimRequest]; events KindProgress, KindHelper; done: [Claim]
	KindCommitClaim    = "commit-claim"    // [ClaimedRequest]; done: [Snapshot]
	KindAbandonClaim   = "abandon-claim"   // [ClaimedRequest]; done: nothing
	KindSnapshots      = "snapshots"       // [SnapshotsRequest]; done: list of [Snapshot]
	KindSnapshot       = "snapshot"        // [SnapshotRequest]; done: [Snapshot]
	KindRemoveSnapshot = "remove-snapshot" // [SnapshotRequest]; done: nothing
	KindExportSnapshot = "export-snapshot" // [SnapshotRequest] and a pipe to write to; done: nothing
	KindImportSnapshot = "import-snapshot" // [ImportSnapshotRequest] and a pipe to read from; done: [Snapshot]
)

// CheckpointRequest makes a snapshot of a container.
type CheckpointRequest struct {
	ContainerRequest
	Spec CheckpointSpec `json:"spec"`
}

// RestoreRequest makes a container from a snapshot.
type RestoreRequest struct {
	Spec RestoreSpec `json:"spec"`
}

// ResetRequest puts a container back to its snapshot.
type ResetRequest struct {
	ContainerRequest
	// Log has the keeper read the outputs, see [Streams].
	Log bool `json:"log,omitempty"`
}

// ClaimRequest asks for the snapshot of a content key, or for the right to make it.
type ClaimRequest struct {
	Spec ClaimSpec `json:"spec"`
}

// ClaimedRequest is about a claim.
type ClaimedRequest struct {
	ID string `json:"id"`
}

// SnapshotsRequest asks for all snapshots.
type SnapshotsRequest struct{}

// SnapshotRequest is about one snapshot.
type SnapshotRequest struct {
	Snapshot string `json:"snapshot"`
}

// ImportSnapshotRequest stores an exported snapshot.
type ImportSnapshotRequest struct {
	Name string `json:"name,omitempty"`
}
