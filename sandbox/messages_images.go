package sandbox

import "time"

// The kinds of messages about images and the rest of the store that need the ids which layers belong to.
const (
	KindCommit       = "commit"        // [CommitRequest]; events KindProgress; done: [ImageInfo]
	KindImport       = "import"        // [ImportRequest] and a pipe to read a tar archive from; events KindProgress; done: [ImageInfo]
	KindLoad         = "load"          // [LoadRequest] and the archive to read; events KindProgress; done: list of [ImageInfo]
	KindRemoveImages = "remove-images" // [RemoveImagesRequest]; done: list of [RemovedImage]
	KindPruneStore   = "prune-store"   // [PruneStoreRequest]; done: [Reclaimed]
	KindDiskUsage    = "disk-usage"    // [DiskUsageRequest]; done: [DiskUsage]
	KindCheckStore   = "check-store"   // [CheckStoreRequest]; events KindProgress; done: [StoreCheck]
	KindResetStore   = "reset-store"   // [ResetStoreRequest]; done: nothing
	KindBuild        = "build"         // [BuildRequest] and the files of its secrets; events KindBuildEvent, KindHelper; done: [ImageInfo]
	KindBuildEvent   = "build-event"   // [BuildEvent]
)

// CommitRequest makes an image of a container.
type CommitRequest struct {
	ContainerRequest
	Commit CommitSpec `json:"commit"`
}

// CommitSpec says what image to make of a container. Its zero value makes one without a name.
type CommitSpec struct {
	// Name is a reference with or without a tag; empty gives the image no name.
	Name    string `json:"name,omitempty"`
	Message string `json:"message,omitempty"`
	Author  string `json:"author,omitempty"`
	// Changes are instructions of a Dockerfile that change the configuration, such as CMD ["sh"] or ENV A=b.
	Changes []string `json:"changes,omitempty"`
	// Pause stops the program while its files are read.
	Pause bool `json:"pause,omitempty"`
}

// ImportRequest makes an image with one layer of a tar archive, which may be compressed with gzip, zstd, bzip2 or xz.
type ImportRequest struct {
	// Name, Message and Changes are as in [CommitSpec]; Platform is os/architecture[/variant], empty for the machine's.
	Name     string   `json:"name,omitempty"`
	Message  string   `json:"message,omitempty"`
	Changes  []string `json:"changes,omitempty"`
	Platform string   `json:"platform,omitempty"`
}

// LoadRequest takes images of an archive of `docker save`, or of an OCI layout in a tar file or a directory, into the store by
// their names.
type LoadRequest struct {
	// Name is what the archive is called in errors.
	Name string `json:"name"`
	// Platform is that of the images to take; empty means all that the archive has.
	Platform string `json:"platform,omitempty"`
}

// RemoveImagesRequest removes names of images, and images that no name is left of.
type RemoveImagesRequest struct {
	// Images are references or ids, or the beginnings of ids.
	Images []string `json:"images"`
	// Force also removes an image of several names by its id, and those of containers that do not run.
	Force bool `json:"force,omitempty"`
}

// RemovedImage is a step of a removal: exactly one of its fields is set.
type RemovedImage struct {
	// Untagged is a name, Deleted the id of an image or the digest of a layer.
	Untagged string `json:"untagged,omitempty"`
	Deleted  string `json:"deleted,omitempty"`
}

// PruneStoreRequest removes what nothing needs: images without a name and without a container, and their layers and blobs.
type PruneStoreRequest struct {
	// Images removes nameless images, AllImages also those with a name that no container has.
	Images    bool `json:"images,omitempty"`
	AllImages bool `json:"all_images,omitempty"`
	// BuildCache removes the cache of builds.
	BuildCache bool `json:"build_cache,omitempty"`
	// Before, if not zero, spares what was made later. Labels spare what lacks one of them: NAME or NAME=VALUE, or with ! before
	// it what has it.
	Before time.Time `json:"before,omitzero"`
	Labels []string  `json:"labels,omitempty"`
}

// Reclaimed is what a removal has made room with.
type Reclaimed struct {
	Removed []RemovedImage `json:"removed,omitempty"`
	// Cache are the keys of entries of the build cache.
	Cache []string `json:"cache,omitempty"`
	// Bytes are those on the disk.
	Bytes int64 `json:"bytes"`
}

// DiskUsageRequest asks what takes how much of the disk.
type DiskUsageRequest struct{}

// DiskUsage is what the store takes of the disk, in bytes as du(1) counts them.
type DiskUsage struct {
	Images     []ImageUsage     `json:"images,omitempty"`
	Layers     []LayerUsage     `json:"layers,omitempty"`
	Containers []ContainerUsage `json:"containers,omitempty"`
	Volumes    []VolumeUsage    `json:"volumes,omitempty"`
	Snapshots  []SnapshotUsage  `json:"snapshots,omitempty"`
	BuildCache []CacheUsage     `json:"build_cache,omitempty"`
	// ImagesSize is what all images take together, ImagesSpare what of it those take that no container has.
	ImagesSize  int64 `json:"images_size"`
	ImagesSpare int64 `json:"images_spare"`
	// Other is what belongs to nothing of the above and [PruneStoreRequest] would remove.
	Other int64 `json:"other,omitempty"`
}

// ImageUsage is an image's part: Unique is what goes with it, Shared what other images need too.
type ImageUsage struct {
	ID     string    `json:"id"`
	Names  []string  `json:"names,omitempty"`
	Made   time.Time `json:"made,omitzero"`
	Shared int64     `json:"shared"`
	Unique int64     `json:"unique"`
	// Containers counts those that are made from it.
	Containers int `json:"containers"`
}

// LayerUsage is one layer's part: Blob as it came, Files as they are unpacked.
type LayerUsage struct {
	DiffID string `json:"diff_id"`
	Blob   int64  `json:"blob"`
	Files  int64  `json:"files"`
	// Images counts those that have it.
	Images int `json:"images"`
}

// ContainerUsage is a kept container's part.
type ContainerUsage struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Image string `json:"image"`
	State State  `json:"state"`
	Size  int64  `json:"size"`
}

// VolumeUsage is a volume's part.
type VolumeUsage struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	// Containers counts those that have it.
	Containers int `json:"containers"`
}

// SnapshotUsage is a snapshot's part.
type SnapshotUsage struct {
	ID   string `json:"id"`
	Size int64  `json:"size"`
}

// CacheUsage is an entry of the build cache. What images share with it is not counted.
type CacheUsage struct {
	Key  string    `json:"key"`
	Kind string    `json:"kind"` // layer or mount
	Text string    `json:"text"` // the instruction, or the id of a cache mount
	Used time.Time `json:"used"`
	Size int64     `json:"size"`
}

// CheckStoreRequest verifies every digest and reference of the store.
type CheckStoreRequest struct {
	// Repair removes what is damaged, so that the next pull brings it anew, and what nothing refers to.
	Repair bool `json:"repair,omitempty"`
}

// StoreCheck is what a check found.
type StoreCheck struct {
	// Checked counts blobs, layers, containers, volumes and snapshots.
	Checked  int            `json:"checked"`
	Problems []StoreProblem `json:"problems,omitempty"`
}

// StoreProblem is one thing that is wrong.
type StoreProblem struct {
	// Kind is blob, layer, image, container, volume, snapshot, cache or leftover.
	Kind string `json:"kind"`
	Name string `json:"name"`
	Text string `json:"text"`
	// Repaired tells that it was mended.
	Repaired bool `json:"repaired,omitempty"`
}

// ResetStoreRequest removes everything that the store has.
type ResetStoreRequest struct{}
