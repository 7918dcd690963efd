package bridge

import (
	"strings"
	"testing"
)

func TestFiltersAreCountedAndHidden(t *testing.T) {
	const rest = "Name:\tSeccomp:\t2\nNoNewPrivs:\t1\n"
	tests := []struct {
		name, lines string
		filters     int
	}{
		{"two filters", "Seccomp:\t2\nSeccomp_filters:\t2\n", 2},
		{"none", "Seccomp:\t0\nSeccomp_filters:\t0\n", 0},
		{"strict mode", "Seccomp:\t1\nSeccomp_filters:\t0\n", 0},
		{"kernel that does not count", "Seccomp:\t2\n", 0},
		{"nonsense", "Seccomp:\t2\nSeccomp_filters:\tx\n", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status := rest + tt.lines + "Cpus_allowed:\t3\n"
			if got := filtersIn([]byte(status)); got != tt.filters {
				t.Errorf("%d filters, want %d", got, tt.filters)
			}
			hidden := string(withoutFilters([]byte(status)))
			if filtersIn([]byte(hidden)) != 0 || strings.Contains(strings.TrimPrefix(hidden, rest), "Seccomp:\t2") {
				t.Errorf("filters are left:\n%s", hidden)
			}
			if !strings.HasPrefix(hidden, rest) || !strings.HasSuffix(hidden, "Cpus_allowed:\t3\n") {
				t.Errorf("other lines changed:\n%s", hidden)
			}
		})
	}
}
