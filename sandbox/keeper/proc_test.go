package keeper

import (
	"os"
	"testing"
)

func TestReadStatOfOneself(t *testing.T) {
	s, err := readStat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if s.parent != os.Getppid() || s.threads < 1 || s.rss < 1 || s.started < 1 || s.state == "" || s.comm == "" {
		t.Errorf("got %+v", s)
	}
}

func TestProcFields(t *testing.T) {
	f, err := procFields(os.Getpid(), "status")
	if err != nil || int(number(f["Pid"])) != os.Getpid() || number(f["VmRSS"]) < 1 || number(f["no such field"]) != 0 {
		t.Errorf("got %v, %v", f, err)
	}
}

func TestReadTraffic(t *testing.T) {
	if _, _, err := readTraffic(os.Getpid()); err != nil {
		t.Error(err)
	}
	if _, _, err := readTraffic(1 << 30); !isGone(err) {
		t.Errorf("got %v of a process that there is not", err)
	}
}
