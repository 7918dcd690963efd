package seccomp

import (
	"encoding/json"
	"errors"
	"fmt"

	docker "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Default returns Docker's default profile for a container with the given bounding set ("CAP_SYS_ADMIN", ...; nil for
// none), this machine's architecture and the running kernel.
func Default(caps []string) (*specs.LinuxSeccomp, error) {
	p, err := docker.GetDefaultProfile(bounded(caps))
	if err != nil {
		return nil, fmt.Errorf("make default seccomp profile: %w", err)
	}
	return p, nil
}

// Load reads a profile in Docker's JSON form, whose conditions on capabilities, architecture and kernel it resolves as
// [Default] does, or in that of the OCI runtime specification.
//
// Errors: malformed JSON, a profile that decides nothing, "name" beside "names", "architectures" beside "archMap".
// [Compile] finds the others.
func Load(data []byte, caps []string) (*specs.LinuxSeccomp, error) {
	if err := checkShape(data); err != nil {
		return nil, fmt.Errorf("load seccomp profile: %w", err)
	}
	p, err := docker.LoadProfile(string(data), bounded(caps))
	if err != nil {
		return nil, fmt.Errorf("load seccomp profile: %w", err)
	}
	if p == nil {
		return nil, errors.New("load seccomp profile: it has neither a defaultAction nor syscalls")
	}
	return p, nil
}

// checkShape refuses null among the syscalls, which Docker's package follows as a pointer.
func checkShape(data []byte) error {
	var shape struct {
		Syscalls []*struct{} `json:"syscalls"`
	}
	if err := json.Unmarshal(data, &shape); err != nil {
		return err
	}
	for i, call := range shape.Syscalls {
		if call == nil {
			return fmt.Errorf("syscalls[%d] is null", i)
		}
	}
	return nil
}

// bounded returns the part of a container's specification that conditions of a profile refer to.
func bounded(caps []string) *specs.Spec {
	return &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}}
}
