package sandbox_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
)

func TestErrorsCompareByCode(t *testing.T) {
	err := fmt.Errorf("run: %w", sandbox.Errorf(sandbox.CodeNotFound, "find %s", "x"))
	if !errors.Is(err, &sandbox.Error{Code: sandbox.CodeNotFound}) {
		t.Error("the same code differs")
	}
	if errors.Is(err, &sandbox.Error{Code: sandbox.CodeMount}) || errors.Is(err, io.EOF) {
		t.Error("another error is the same")
	}
}

func TestCodeOf(t *testing.T) {
	for _, test := range []struct {
		err  error
		want sandbox.Code
	}{
		{nil, ""},
		{io.EOF, sandbox.CodeInternal},
		{sandbox.Errorf(sandbox.CodeLimits, "no"), sandbox.CodeLimits},
		{fmt.Errorf("a: %w", sandbox.Errorf(sandbox.CodeMount, "no")), sandbox.CodeMount},
		{errors.Join(io.EOF, sandbox.Errorf(sandbox.CodeMount, "no")), sandbox.CodeMount},
	} {
		if got := sandbox.CodeOf(test.err); got != test.want {
			t.Errorf("%v: got %q, want %q", test.err, got, test.want)
		}
	}
}

func TestWhatIsUnsupportedSaysSo(t *testing.T) {
	for code, want := range map[sandbox.Code]bool{
		sandbox.CodeUnsupported: true, sandbox.CodeLimits: true, sandbox.CodeInternal: false, sandbox.CodeNotFound: false,
	} {
		if got := errors.Is(sandbox.Errorf(code, "x"), errors.ErrUnsupported); got != want {
			t.Errorf("%s: %v", code, got)
		}
	}
}

func TestARemedyFollowsTheMessage(t *testing.T) {
	plain := sandbox.Errorf(sandbox.CodeMount, "mount %s", "x")
	mended := plain.WithRemedy("make %s", "x")
	if plain.Error() != "mount x" || mended.Error() != "mount x; make x" {
		t.Errorf("got %q and %q", plain, mended)
	}
}

func TestErrorsCrossTheWire(t *testing.T) {
	want := sandbox.Errorf(sandbox.CodeMount, "mount x").WithRemedy("make x")
	text, err := json.Marshal(want)
	if err != nil || string(text) != `{"code":"mount","message":"mount x","remedy":"make x"}` {
		t.Fatalf("got %s, %v", text, err)
	}
	got := &sandbox.Error{}
	if err := json.Unmarshal(text, got); err != nil || *got != *want {
		t.Errorf("got %+v, %v", got, err)
	}
}
