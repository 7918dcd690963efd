package keeper

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/build"
	"github.com/bivouac-run/bivouac/sandbox"
)

func TestStepsThatFailHaveCodes(t *testing.T) {
	for want, err := range map[sandbox.Code]error{
		sandbox.CodeBuild:    errors.New("copy \"fifo\" of the context: it is a FIFO"),
		sandbox.CodeNotFound: &rootfs.Error{Code: rootfs.NotFound, Err: errors.New("find \"x\"")},
		sandbox.CodeNoSpace:  fmt.Errorf("write: %w", unix.ENOSPC),
	} {
		got := toWire(buildError(fmt.Errorf("build: %w", &build.StepError{File: "Dockerfile", Line: 3, Excerpt: "COPY", Err: err})))
		if got.Code != want || got.Detail != "COPY" || got.Message != "Dockerfile:3: "+err.Error() {
			t.Errorf("%v is %+v", err, got)
		}
	}
	if got := toWire(buildError(errors.New("x"))); got.Code != sandbox.CodeInternal {
		t.Errorf("an error of no step is %+v", got)
	}
}
