package userns

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rootless-containers/rootlesskit/v2/pkg/parent/idtools"
)

func TestDetectModes(t *testing.T) {
	for mode, wantErr := range map[string]bool{"": false, "auto": false, "single": false, "Single": true, "mapped": true, "1": true} {
		t.Setenv(ModeVariable, mode)
		m, err := Detect()
		if (err != nil) != wantErr {
			t.Errorf("%q: %v", mode, err)
		}
		if err != nil && !strings.Contains(err.Error(), "auto, single") {
			t.Errorf("%q: the error names no allowed value: %v", mode, err)
		}
		if mode == "single" && !m.Single() {
			t.Errorf("%q gives %s", mode, m)
		}
		if err == nil && m.UIDs[0] != (IDMap{0, uint32(os.Getuid()), 1}) {
			t.Errorf("%q: root is %v", mode, m.UIDs[0])
		}
	}
}

// Without the helpers, or with ones that have no rights, there is the single id.
func TestDetectWithoutHelpers(t *testing.T) {
	for name, tools := range map[string][]string{"none": nil, "one": {"newuidmap"}, "without rights": helpers} {
		dir := t.TempDir()
		for _, tool := range tools {
			writeScript(t, filepath.Join(dir, tool), "true")
		}
		t.Setenv("PATH", dir)
		if m, err := Detect(); err != nil || !m.Single() {
			t.Errorf("%s: %s, %v", name, m, err)
		}
		err := checkHelpers()
		if u, ok := errors.AsType[*Unsupported](err); !ok || u.Remedy == "" || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAppendRanges(t *testing.T) {
	all := []IDMap{{0, 0, math.MaxUint32}}
	outer := []IDMap{{0, 1000, 1}, {1, 100000, 65536}}
	own := IDMap{0, 1500, 1}
	tests := map[string]struct {
		ranges []idtools.SubIDRange
		outer  []IDMap
		want   []IDMap
	}{
		"none":              {nil, all, []IDMap{own}},
		"one":               {ranges(231072, 65536), all, []IDMap{own, {1, 231072, 65536}}},
		"two":               {ranges(231072, 10, 5000, 5), all, []IDMap{own, {1, 231072, 10}, {11, 5000, 5}}},
		"twice the same":    {ranges(231072, 10, 231072, 10), all, []IDMap{own, {1, 231072, 10}}},
		"overlapping":       {ranges(231072, 10, 231081, 10), all, []IDMap{own, {1, 231072, 10}}},
		"with the own id":   {ranges(1000, 1000), all, []IDMap{own}},
		"empty":             {ranges(231072, 0, 231072, -5), all, []IDMap{own}},
		"negative":          {ranges(-5, 10, math.MinInt64, 10), all, []IDMap{own, {1, 0, 5}}},
		"enormous":          {ranges(math.MaxInt64, 10, 2000, math.MaxInt64), all, []IDMap{own}},
		"beyond the last":   {ranges(math.MaxUint32-1, 10), all, []IDMap{own, {1, math.MaxUint32 - 1, 1}}},
		"cut by the outer":  {ranges(60000, 65536), outer, []IDMap{own, {1, 60000, 5537}}},
		"not in the outer":  {ranges(231072, 65536), outer, []IDMap{own}},
		"split by an outer": {ranges(2000, 10), []IDMap{{0, 0, 2005}, {2005, 9000, 100}}, []IDMap{own, {1, 2000, 5}, {6, 2005, 5}}},
	}
	for name, tt := range tests {
		if got := appendRanges([]IDMap{own}, tt.ranges, tt.outer); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// ranges takes start and length in turn.
func ranges(numbers ...int) []idtools.SubIDRange {
	var out []idtools.SubIDRange
	for pair := range slices.Chunk(numbers, 2) {
		out = append(out, idtools.SubIDRange{Start: pair[0], Length: pair[1]})
	}
	return out
}

func TestAppendRangesStopsAtTheKernelsLimit(t *testing.T) {
	var many []idtools.SubIDRange
	for i := range 2 * maxExtents {
		many = append(many, ranges(10000+10*i, 5)...)
	}
	if got := appendRanges([]IDMap{{0, 1500, 1}}, many, []IDMap{{0, 0, math.MaxUint32}}); len(got) != maxExtents {
		t.Errorf("%d extents", len(got))
	}
}

func TestMapping(t *testing.T) {
	mapped := Mapping{UIDs: []IDMap{{0, 1500, 1}, {1, 231072, 65536}}, GIDs: []IDMap{{0, 1500, 1}}}
	for id, want := range map[uint32]uint32{0: 1500, 1: 231072, 65536: 296607, 65537: math.MaxUint32, math.MaxUint32: math.MaxUint32} {
		host, ok := ToHost(mapped.UIDs, id)
		if host != want || ok != (want != math.MaxUint32) {
			t.Errorf("id %d is %d, %v", id, host, ok)
		}
	}
	if !mapped.Contains(5, 0) || mapped.Contains(0, 5) || mapped.Contains(65537, 0) {
		t.Error("contains the wrong ids")
	}
	if mapped.Single() || (Mapping{}).Single() || !own().Single() {
		t.Error("single is wrong")
	}
	if mapped.ID() == own().ID() || len(mapped.ID()) != 16 {
		t.Errorf("ids %s and %s", mapped.ID(), own().ID())
	}
	if text := mapped.String(); text != "u:0,1500,1;1,231072,65536 g:0,1500,1" || EnterEnv(mapped) != "_BIVOUAC_ENTER="+text {
		t.Errorf("text %q", text)
	}
}

func TestParseMap(t *testing.T) {
	got, err := parseMap(strings.NewReader("         0       1500          1\n         1     231072      65536\n"))
	if err != nil || !slices.Equal(got, []IDMap{{0, 1500, 1}, {1, 231072, 65536}}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"0 1\n", "0 1 x\n", "0 1 4294967296\n", "\n"} {
		if _, err := parseMap(strings.NewReader(text)); err == nil {
			t.Errorf("%q is taken for a map", text)
		}
	}
}

func BenchmarkDetect(b *testing.B) {
	for b.Loop() {
		if _, err := Detect(); err != nil {
			b.Fatal(err)
		}
	}
}
