package keeper

import (
	"reflect"
	"testing"
	"time"

	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

func TestCloneSpec(t *testing.T) {
	original := sandbox.Spec{
		Image: "x", Name: "n", Hostname: "h", Keep: true, Listed: true, HoldPorts: true, PublishAll: true, Args: []string{"a"},
		Labels: map[string]string{"a": "1", "b": "1"}, Limits: sandbox.Limits{PIDs: 5},
		Publish: []sandbox.PortMapping{{HostIP: "127.0.0.2", HostPort: 80, HostPortLast: 90, Port: 8080}},
	}
	before := original
	got := cloneSpec(&original, &sandbox.RestoreSpec{Labels: map[string]string{"b": "2"}})
	want := &sandbox.Spec{
		Image: "x", Args: []string{"a"}, PublishAll: true, Labels: map[string]string{"a": "1", "b": "2"}, Limits: sandbox.Limits{PIDs: 5},
		Publish: []sandbox.PortMapping{{HostIP: "127.0.0.2", Port: 8080}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\ninstead of\n%+v", got, want)
	}
	if !reflect.DeepEqual(original, before) || original.Labels["b"] != "1" || original.Publish[0].HostPort != 80 {
		t.Errorf("the original is now %+v", original)
	}
	own := &sandbox.RestoreSpec{
		Name: "c", Hostname: "d", Listed: true, HoldPorts: true, Publish: []sandbox.PortMapping{}, Limits: &sandbox.Limits{PIDs: 9},
	}
	got = cloneSpec(&original, own)
	if got.Name != "c" || got.Hostname != "d" || !got.Listed || !got.HoldPorts || len(got.Publish) > 0 || got.PublishAll || got.Limits.PIDs != 9 {
		t.Errorf("got %+v", got)
	}
	if got := cloneSpec(&sandbox.Spec{}, &sandbox.RestoreSpec{Labels: map[string]string{"a": "b"}}); got.Labels["a"] != "b" {
		t.Errorf("labels %v", got.Labels)
	}
}

func TestClocksGoOnWhereTheyStood(t *testing.T) {
	stood := &frozenTree{Clock: int64(time.Hour), BootClock: int64(2 * time.Hour)}
	o := stood.continuing()
	for _, test := range []struct {
		clock  int32
		offset int64
		want   time.Duration
	}{{unix.CLOCK_MONOTONIC, o.monotonic, time.Hour}, {unix.CLOCK_BOOTTIME, o.boot, 2 * time.Hour}} {
		shown := time.Duration(now(test.clock) + test.offset)
		if shown < test.want || shown > test.want+10*time.Second {
			t.Errorf("clock %d shows %v instead of %v", test.clock, shown, test.want)
		}
	}
}

func TestTimeOffset(t *testing.T) {
	for nanoseconds, want := range map[int64][2]int64{0: {0, 0}, 1: {0, 1}, 2_500_000_000: {2, 500_000_000}, -1: {-1, 999_999_999}, -2_500_000_000: {-3, 500_000_000}} {
		got := timeOffset(nanoseconds)
		if got.Secs != want[0] || int64(got.Nanosecs) != want[1] {
			t.Errorf("%d is %+v instead of %v", nanoseconds, got, want)
		}
	}
}

func TestSetClock(t *testing.T) {
	c := &container{config: &configs.Config{}}
	c.setClock(&clockOffset{monotonic: 5, boot: 6})
	if !c.config.Namespaces.Contains(configs.NEWTIME) || c.config.TimeOffsets["monotonic"].Nanosecs != 5 || c.config.TimeOffsets["boottime"].Nanosecs != 6 {
		t.Errorf("got %+v", c.config)
	}
	c.setClock(nil)
	if c.config.Namespaces.Contains(configs.NEWTIME) || c.config.TimeOffsets != nil || c.clock != nil {
		t.Errorf("got %+v", c.config)
	}
}

func TestDrainsAreRead(t *testing.T) {
	list, err := drains(3)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range list {
		if n, err := w.Write(make([]byte, 1<<20)); n != 1<<20 || err != nil {
			t.Errorf("wrote %d: %v", n, err)
		}
	}
	closeFiles(list)
}
