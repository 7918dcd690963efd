package criu

import (
	"fmt"
	"strings"
)

// Version is CRIU's, such as 4.2.1. The zero value is no version.
type Version struct{ Major, Minor, Sublevel int }

// Oldest is the oldest version that will do: older ones need root's rights, fail on the vDSO of Linux 6.13 and newer
// (fixed in 4.1) or on the sockets of Linux 6.16 and newer (fixed in 4.2).
var Oldest = Version{4, 2, 0}

func (v Version) String() string {
	if v.Sublevel == 0 {
		return fmt.Sprintf("%d.%d", v.Major, v.Minor)
	}
	return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Sublevel)
}

// Less tells whether v is older than w.
func (v Version) Less(w Version) bool {
	if v.Major != w.Major {
		return v.Major < w.Major
	}
	if v.Minor != w.Minor {
		return v.Minor < w.Minor
	}
	return v.Sublevel < w.Sublevel
}

// parseVersion reads what "criu --version" writes: "Version: 4.2" or "Version: 4.2.1", and perhaps more lines.
func parseVersion(out string) (Version, error) {
	_, text, found := strings.Cut(out, "Version: ")
	text, _, _ = strings.Cut(text, "\n")
	var v Version
	if n, _ := fmt.Sscanf(text, "%d.%d.%d", &v.Major, &v.Minor, &v.Sublevel); !found || n < 2 {
		return Version{}, fmt.Errorf("read version: it says %q", firstLine(out))
	}
	return v, nil
}

// firstLine is the first line of text, at most 200 bytes of it.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line[:min(len(line), 200)]
}
