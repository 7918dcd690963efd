package rootfs

import (
	"os"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Policy says when a registry is asked.
type Policy string

// The policies; the zero value is Missing.
const (
	Missing Policy = "missing" // if the image is not complete in the store
	Always  Policy = "always"  // whether the name still means what is in the store
	Never   Policy = "never"   // not at all
)

// PullOptions say how to pull. The zero value pulls what is missing for the machine's own platform.
type PullOptions struct {
	Policy   Policy
	Platform string // os/arch[/variant]; empty for the machine's

	PlainHTTP bool   // also talk http to registries that are not on this machine
	CAFile    string // PEM certificates to trust beside the system's; empty for those in $BIVOUAC_CA_FILE, if set

	IgnoreChownErrors bool  // files of unmapped owners get an overflow id instead of ending the pull
	MaxUnpackedSize   int64 // bytes that all layers together may have; 0 for no limit

	// Helper runs a credential helper with an argument and an input, and returns what it prints; nil runs it here. It
	// matters where helpers ask who is calling, as the desktop's keyrings do.
	Helper func(program, action string, input []byte) ([]byte, error)

	Progress func(Event) // called by one goroutine at a time; nil for none
}

func (o PullOptions) caFile() string {
	if o.CAFile != "" {
		return o.CAFile
	}
	return os.Getenv("BIVOUAC_CA_FILE")
}

func (o PullOptions) validate() error {
	switch o.Policy {
	case "", Missing, Always, Never:
	default:
		return fail(BadReference, "write missing, always or never", "unknown pull policy %q", o.Policy)
	}
	_, err := o.platform()
	return err
}

// platform is the platform that was asked for, normalized.
func (o PullOptions) platform() (ocispec.Platform, error) { return parsePlatform(o.Platform) }

func parsePlatform(s string) (ocispec.Platform, error) {
	if s == "" {
		return platforms.DefaultSpec(), nil
	}
	p, err := platforms.Parse(s)
	if err != nil {
		return p, fail(NoPlatform, "write os/arch[/variant], as linux/arm64", "read platform %q: %w", s, err)
	}
	return p, nil
}
