package main

import (
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func TestRoutes(t *testing.T) {
	handler := (&service{ballast: newBallast(1)}).routes()
	for _, c := range []struct{ path, want string }{
		{"/", "hello from go"}, {"/count", "1"}, {"/count", "2"}, {"/heap", "1 MB"}, {"/random", "[0-9a-f]{32}"},
		{"/pseudo", `[0-9.e-]+`}, {"/time", `\{"monotonic_ns": \d+, "wall_ms": \d+\}`}, {"/other", "404 page not found"},
	} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest("GET", c.path, nil))
		if got := answer.Body.String(); !regexp.MustCompile("^" + c.want + "\n$").MatchString(got) {
			t.Errorf("%s: got %q, want %q", c.path, got, c.want)
		}
	}
}

func TestBallastTellsChange(t *testing.T) {
	b := newBallast(1)
	b.bytes[1<<19]++
	if text, err := b.check(); err == nil {
		t.Errorf("got %q", text)
	}
}

func TestChildCounts(t *testing.T) {
	var out strings.Builder
	if err := beChild(strings.NewReader("\n\n"), &out); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^(\d+) 1\n\d+ 2\n$`).MatchString(out.String()) {
		t.Errorf("got %q", out.String())
	}
}
