package userns

import (
	"context"
	"errors"
	"os"
	"path/filepath"
)

// CheckOptions say what to check.
type CheckOptions struct {
	// StoreDir is where images are kept, or will be: it need not exist. Empty stands for the temporary directory.
	StoreDir string
}

// Checks probes, by doing where it can, everything that containers need or profit from. It leaves nothing behind. The
// calling program must answer the arguments [ProbeVerb] and DIR with [ProbeInside], written to standard output as JSON.
func Checks(ctx context.Context, o CheckOptions) []Check {
	a := tryEntering(ctx, existing(o.StoreDir))
	checks := []Check{
		namespacesCheck.with(a.namespaces()),
		appArmorCheck.with(a.appArmor()),
		subordinateCheck.with(probeSubordinate()),
		helpersCheck.with(a.helpers()),
	}
	checks = append(checks, a.inside...)
	return append(checks, cgroupCheck.with(probeCgroup()))
}

// existing returns the directory itself or the nearest one above it that exists.
func existing(dir string) string {
	if dir == "" {
		return os.TempDir()
	}
	for {
		_, err := os.Stat(dir)
		parent := filepath.Dir(dir)
		if parent == dir || !errors.Is(err, os.ErrNotExist) {
			return dir
		}
		dir = parent
	}
}
