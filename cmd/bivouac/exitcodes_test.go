package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/userns"
)

// declaredCodes reads the values of all constants of a file, which must be error codes.
func declaredCodes(t *testing.T, file string) []sandbox.Code {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []sandbox.Code
	ast.Inspect(tree, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 {
			if value, ok := spec.Values[0].(*ast.BasicLit); ok {
				text, _ := strconv.Unquote(value.Value)
				codes = append(codes, sandbox.Code(text))
			}
		}
		return true
	})
	return codes
}

func TestEveryCodeHasAnExitCode(t *testing.T) {
	listed := map[sandbox.Code]int{}
	for _, c := range exitCodes {
		listed[c.code]++
	}
	declared := append(declaredCodes(t, "../../sandbox/errors.go"), declaredCodes(t, "../../rootfs/error.go")...)
	if len(declared) < 30 {
		t.Fatalf("found only %d codes: %v", len(declared), declared)
	}
	for _, code := range declared {
		if listed[code] != 1 {
			t.Errorf("code %q is listed %d times", code, listed[code])
		}
	}
}

func TestExitCodesAreDistinct(t *testing.T) {
	seen := map[int]sandbox.Code{}
	for _, c := range exitCodes {
		if other, ok := seen[c.exit]; ok {
			t.Errorf("%s and %s both have %d", other, c.code, c.exit)
		}
		if c.exit < 1 || c.exit > 127 || c.exit == exitRunFailed {
			t.Errorf("%s has %d", c.code, c.exit)
		}
		seen[c.exit] = c.code
	}
}

func TestConclude(t *testing.T) {
	plain := errors.New("it broke")
	for _, test := range []struct {
		name, verb string
		err        error
		exit       int
		stderr     string
	}{
		{"success", "pull", nil, 0, ""},
		{"success of run", "run", nil, 0, ""},
		{"any error", "pull", plain, 1, "bivouac: it broke\n"},
		{"any error of run", "run", plain, 125, "bivouac: it broke\n"},
		{"usage", "pull", usageErrorf("what; how"), 2, "bivouac: what; how\n"},
		{"usage of run", "run", usageErrorf("what; how"), 125, "bivouac: what; how\n"},
		{"from the keeper", "pull", fmt.Errorf("a: %w", sandbox.Errorf(sandbox.CodeNoSpace, "full").WithRemedy("tidy")), 40, "bivouac: a: full; tidy\n"},
		{"from the store", "images", &rootfs.Error{Code: rootfs.Blocked, Err: plain}, 27, "bivouac: it broke\n"},
		{"from userns", "pull", &userns.Unsupported{Feature: "x", Err: plain, Remedy: "mend"}, 10, "bivouac: x: it broke; mend\n"},
		{"a code of the future", "pull", sandbox.Errorf("new", "it broke"), 1, "bivouac: it broke\n"},
		{"interrupted", "pull", &interruption{syscall.SIGTERM, "it stays"}, 143, "bivouac: interrupted; it stays\n"},
		{"silent", "run", exitError{code: 42}, 42, ""},
		{"silent success", "run", exitError{code: 0}, 0, ""},
		{"given", "doctor", exitError{code: 10, err: plain}, 10, "bivouac: it broke\n"},
		{"hostile", "pull", errors.New("no\n\x1b[2Jsuch"), 1, "bivouac: no [2Jsuch\n"},
		{"prefixed", "pull", errors.New("bivouac: no userns"), 1, "bivouac: no userns\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stderr strings.Builder
			if exit := conclude(&stderr, test.verb, test.err); exit != test.exit || stderr.String() != test.stderr {
				t.Errorf("got %d %q, want %d %q", exit, stderr.String(), test.exit, test.stderr)
			}
		})
	}
}

func TestInterruption(t *testing.T) {
	ctx, free := interruptible(t.Context(), "it stays")
	defer free()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	err := causeOf(ctx, fmt.Errorf("wait: %w", ctx.Err()))
	if exitCodeOf(err) != 129 {
		t.Errorf("exit code %d for %v", exitCodeOf(err), err)
	}
}

func TestCauseWithoutInterruption(t *testing.T) {
	ctx, free := interruptible(context.Background(), "it stays")
	defer free()
	err := errors.New("it broke")
	if !errors.Is(causeOf(ctx, err), err) || causeOf(ctx, nil) != nil {
		t.Error("an error was replaced")
	}
}
