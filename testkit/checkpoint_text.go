package testkit

import (
	"fmt"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// announcement says what a snapshot holds and where it comes from, such as "processes (3.1 MB, 1 process), made in 180ms",
// and why it does not hold more.
func announcement(s sandbox.Snapshot, made string) string {
	text := snapshotText(s) + ", " + made
	if s.Fallback != "" {
		text += ": " + s.Fallback
	}
	return text
}

func snapshotText(s sandbox.Snapshot) string {
	switch {
	case s.Tier == sandbox.TierProcesses && s.Processes == 1:
		return fmt.Sprintf("processes (%s, 1 process)", sizeText(s.Size))
	case s.Tier == sandbox.TierProcesses:
		return fmt.Sprintf("processes (%s, %d processes)", sizeText(s.Size), s.Processes)
	case s.Fallback != "":
		return fmt.Sprintf("files only (%s, %s)", sizeText(s.Size), s.Quality)
	default:
		return fmt.Sprintf("files (%s, %s)", sizeText(s.Size), s.Quality)
	}
}

// sizeText returns bytes in decimal units.
func sizeText(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000*1000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1000*1000*1000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	default:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	}
}

func madeIn(took time.Duration) string { return "made in " + took.Round(time.Millisecond).String() }
