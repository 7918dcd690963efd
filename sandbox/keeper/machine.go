package keeper

import (
	"bufio"
	"fmt"
	"hash/fnv"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// machine is what checkpointed processes depend on.
type machine struct{ kernel, cpu, criu string }

// machine describes this one.
//
// Errors: CodeCheckpoint without a usable CRIU.
func (k *keeper) machine() (machine, error) {
	i, err := k.criu.find()
	if err != nil {
		return machine{}, err
	}
	cpu, err := cpuFeatures()
	return machine{kernel: kernelRelease(), cpu: cpu, criu: i.Version.String()}, err
}

var kernelRelease = sync.OnceValue(func() string {
	var u unix.Utsname
	_ = unix.Uname(&u) // never fails
	return unix.ByteSliceToString(u.Release[:])
})

// overlayMaps is the first kernel that shows mapped files of an overlay by their own numbers, as CRIU has to find them.
var overlayMaps = [2]int{6, 8}

func kernelOlderThan(version [2]int) bool {
	var major, minor int
	_, _ = fmt.Sscanf(kernelRelease(), "%d.%d", &major, &minor)
	return major < version[0] || major == version[0] && minor < version[1]
}

// cpuFeatures names the features of the first processor, by a hash: programs choose their code by them.
var cpuFeatures = sync.OnceValues(func() (string, error) {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "", fmt.Errorf("read the processor's features: %w", err)
	}
	defer f.Close()
	hash := fnv.New64a()
	for lines := bufio.NewScanner(f); lines.Scan() && lines.Text() != ""; {
		name, value, _ := strings.Cut(lines.Text(), ":")
		switch strings.TrimSpace(name) {
		case "vendor_id", "cpu family", "model", "flags", "Features", "CPU implementer", "CPU part":
			fmt.Fprintln(hash, name, value)
		}
	}
	return fmt.Sprintf("%016x", hash.Sum64()), nil
})
