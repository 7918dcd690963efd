package testkit_test

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/bivouac-run/bivouac/testkit"
)

func TestContainersShareAVolumeThatIsGoneAfterwards(t *testing.T) {
	busybox, dir := image(t, "busybox"), ""
	t.Run("shared", func(t *testing.T) {
		v := testkit.Volume(t)
		dir = v.Inspect().Path
		run := func(mount testkit.Option, line string) string {
			r := testkit.Run(t, busybox, []string{"sh", "-c", line}, mount)
			if r.Code != 0 {
				t.Errorf("%s: exit code %d", line, r.Code)
			}
			return r.String()
		}
		run(testkit.MountVolume(v, "/data"), "echo shared > /data/file")
		if got := run(testkit.MountVolumeReadOnly(v, "/other"), "cat /other/file; ! touch /other/x 2>/dev/null"); got != "shared" {
			t.Errorf("got %q", got)
		}
		if _, err := os.Stat(dir); err != nil {
			t.Error(err)
		}
	})
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the volume is left: %v", err)
	}
}
