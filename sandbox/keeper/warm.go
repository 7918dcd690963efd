package keeper

import (
	"encoding/json"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runc/libcontainer"
)

// warmUp does beside the first request what that would otherwise have to wait for: encoding/json looks at every type when it
// first meets it, and libcontainer's are large.
func (k *keeper) warmUp() {
	go func() { _, _ = json.Marshal(libcontainer.State{}) }()
	go func() {
		_ = json.Unmarshal([]byte(`{"config":{}}`), &ocispec.Image{})
		prepareFilters(k.single())
	}()
}
