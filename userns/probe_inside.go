package userns

import "slices"

// innerProbe is a check that only root of a user namespace can make, with a directory of the store's file system to try
// things in.
type innerProbe struct {
	Check
	try func(dir string) verdict
}

var innerProbes = []innerProbe{
	{Check{Name: "overlay", Required: true,
		Means: "containers share an image's files and see their own changes only: overlay file systems, on the store's file system"}, probeOverlay},
	{Check{Name: "overlay in memory",
		Means: "a container's changed files are in memory, which is faster; without it they are on disk"}, probeOverlayTmpfs},
	{Check{Name: "tmpfs user xattrs",
		Means: "files in memory can have extended attributes, which overlays need; without them changed files are on disk"}, probeTmpfsXattrs},
	{Check{Name: "/dev/net/tun",
		Means: "containers reach the network through it; without it only --network none and --network host work"}, probeTun},
	{Check{Name: "seccomp notification",
		Means: "chown and the like are emulated for users without subordinate ids; without it images that chown fail for them"}, probeSeccomp},
}

// ProbeInside makes the checks that need a namespace of one's own. Only the child that [Checks] starts may call it: it
// mounts, and changes the calling process. The directory must exist; what is tried in it is removed again.
func ProbeInside(storeDir string) []Check {
	var checks []Check
	for _, p := range innerProbes {
		checks = append(checks, p.with(p.try(storeDir)))
	}
	return checks
}

// untried is [ProbeInside]'s answer where it could not run.
func untried(err error) []Check {
	var checks []Check
	for p := range slices.Values(innerProbes) {
		checks = append(checks, p.with(unknown(err, "mend the lines above first")))
	}
	return checks
}
