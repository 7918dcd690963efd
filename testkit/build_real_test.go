package testkit_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/testkit"
)

// buildContext writes a Dockerfile and a file.
func buildContext(t *testing.T, dockerfile string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"Dockerfile": strings.ReplaceAll(dockerfile, "IMAGE", image(t, "busybox:latest")), "f": "content"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestAnImageThatWasBuiltIsStarted(t *testing.T) {
	dir := buildContext(t, "FROM IMAGE AS one\nARG A\nCOPY f /f\nRUN --mount=type=secret,id=s cat /f /run/secrets/s | tr a-z A-Z > /out; echo $A >> /out\nFROM one\nRUN false\n")
	id := testkit.Build(t, dir, testkit.Target("one"), testkit.BuildArg("A", "arg"), testkit.Secret("s", []byte("secret\n")))
	if result := testkit.Run(t, id, []string{"cat", "/out"}); result.String() != "CONTENTSECRET\narg" {
		t.Errorf("got %q", result.String())
	}
	began := time.Now()
	if again := testkit.Build(t, dir, testkit.Target("one"), testkit.BuildArg("A", "arg"), testkit.Secret("s", []byte("other\n"))); again != id {
		t.Errorf("built again it is %s, not %s", again, id)
	}
	t.Logf("built again in %v", time.Since(began))
}

func TestAnImageThatCannotBeBuilt(t *testing.T) {
	dir := buildContext(t, "FROM IMAGE\nRUN echo the reason; false\n")
	_, err := testkit.BuildContext(t.Context(), dir)
	if err == nil || sandbox.CodeOf(err) != sandbox.CodeBuild {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"Dockerfile:2: ", ">>> RUN echo the reason", "    the reason\n", "reproduce: bivouac build"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}
