package bridge

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"
)

// TestExtents compares with a picture of the file, a byte for each unit.
func TestExtents(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var x extents
		var picture [64]int
		for range 20 {
			start := random.Uint64N(60)
			e := extent{start, start + 1 + random.Uint64N(64-start-1)}
			var now [64]int
			for _, f := range x.add(e) {
				for i := f.start; i < f.end; i++ {
					now[i]++
				}
			}
			for i := range picture {
				inside := uint64(i) >= e.start && uint64(i) < e.end
				if want := inside && picture[i] == 0; now[i] != btoi(want) {
					t.Fatalf("adding %v to %v: unit %d is new %d times, want %v", e, x, i, now[i], want)
				}
				picture[i] += now[i]
			}
		}
		for i := 1; i < len(x); i++ {
			if x[i-1].end > x[i].start {
				t.Fatalf("not in order: %v", x)
			}
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestZerosBecomeHoles(t *testing.T) {
	fd, err := memoryFile("test")
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(fd)
	const pages = 64
	b := make([]byte, pages*pageSize)
	for _, i := range []int{0, 5, 6, 7, 62} {
		b[i*pageSize+i] = byte(i + 1)
	}
	if err := unix.Ftruncate(fd, int64(len(b))); err != nil {
		t.Fatal(err)
	}
	if err := writeSparse(fd, b, 0); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(b))
	if n, err := unix.Pread(fd, got, 0); err != nil || n != len(b) || !bytes.Equal(got, b) {
		t.Errorf("read %d bytes, %v, the same: %v", n, err, bytes.Equal(got, b))
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Blocks*512 != int64(5*pageSize) {
		t.Errorf("%d bytes in memory, %v, want 5 pages", st.Blocks*512, err)
	}
}

func TestAvailableMemory(t *testing.T) {
	if got := available([]byte("MemTotal: 9 kB\nMemAvailable:    1234 kB\n")); got != 1234<<10 {
		t.Errorf("%d", got)
	}
	if got := available([]byte("MemTotal: 9 kB\n")); got != 0 {
		t.Errorf("%d", got)
	}
}
