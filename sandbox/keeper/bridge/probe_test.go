package bridge

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/userns/notify/notifytest"
)

// probes run inside the container under the filter, and ask what CRIU does about its first process.
var probes = map[string]func(objects) error{
	"own mapping":           probeOwn,
	"memory file":           func(o objects) error { return probeSameFile(o, o.Memory) },
	"deleted file":          func(o objects) error { return probeSameFile(o, o.Gone) },
	"nothing to be found":   probeMisses,
	"ring":                  probeRing,
	"pieces":                probePieces,
	"too large":             probeTooLarge,
	"hidden filter":         func(o objects) error { return probeStatus(o, "0", "0") },
	"a filter of one's own": func(o objects) error { return probeStatus(o, "2", "1") },
	"no procfs":             probeOther,
	keepersProc:             probeKeeper,
}

func TestAnswers(t *testing.T) {
	for name := range probes {
		t.Run(name, func(t *testing.T) {
			s := spec{Run: "probe", Probe: name}
			wantLog := ""
			switch name {
			case "hidden filter":
				s.Options.Filters = 1
			case "a filter of one's own":
				s.Options.Filters = 3
				wantLog = "LOG process 1 has 1 seccomp filters, 3 of them from its keeper\n"
			case "too large":
				s.Options.MaxShared = uint64(10 * pageSize)
				wantLog = "cannot allocate memory\n"
			}
			out, err := s.run(t)
			if err != nil || wantLog == "" && out != "" || !strings.HasSuffix(out, wantLog) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// holdAndProbe is inspected while it waits.
func holdAndProbe(s spec) (err error) {
	keepers := s.Objects.Keepers
	if s.Objects, err = makeObjects(fork); err != nil {
		return err
	}
	s.Objects.Keepers = keepers
	self, err := unix.Open("/proc/self", handleFlags, 0)
	if err != nil {
		return err
	}
	if s.Objects.Ring, err = mapRing(process(self)); err != nil {
		return err
	}
	if s.Options.Filters != 0 {
		if _, err := notifytest.Load(allowAll(), unix.SECCOMP_FILTER_FLAG_TSYNC); err != nil {
			return err
		}
	}
	return s.underFilter()
}

// directories are CRIU's way to a process.
func (o objects) directories() (dir, mapFiles int, err error) {
	dir, err = unix.Open(fmt.Sprintf("/proc/%d", o.PID), handleFlags, 0)
	if err != nil {
		return -1, -1, err
	}
	mapFiles, err = unix.Openat(dir, "map_files", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	return dir, mapFiles, err
}

func probeOwn(objects) error {
	fd, err := unix.MemfdCreate("own", 0)
	if err != nil {
		return err
	}
	r, err := mapFile(fd)
	if err != nil {
		return err
	}
	var want, got unix.Stat_t
	err = errors.Join(unix.Fstat(fd, &want), unix.Stat("/proc/self/map_files/"+r.addresses().String(), &got))
	miss := unix.Stat("/proc/self/map_files/1000-2000", &got)
	return errors.Join(err, expect("inode", got.Ino, want.Ino), expect("device", got.Dev, want.Dev), expect("miss", miss, unix.ENOENT))
}

func probeSameFile(o objects, r region) error {
	_, mapFiles, err := o.directories()
	if err != nil {
		return err
	}
	for _, flags := range []int{unix.O_RDONLY | unix.O_CLOEXEC, unix.O_PATH} {
		fd, err := unix.Openat(mapFiles, r.addresses().String(), flags, 0)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		b := make([]byte, len(hello))
		_, readErr := unix.Pread(fd, b, 0)
		err = errors.Join(unix.Fstat(fd, &st), readErr, expect("inode", st.Ino, r.Inode), expect("content", string(b), hello))
		descriptor, flagsErr := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		status, statusErr := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		cloexec := flags&unix.O_CLOEXEC != 0
		if err := errors.Join(err, flagsErr, statusErr, expect("FD_CLOEXEC", descriptor == unix.FD_CLOEXEC, cloexec),
			expect("blocks and reads", status&(unix.O_NONBLOCK|unix.O_ACCMODE), 0)); err != nil {
			return err
		}
	}
	return nil
}

// probeMisses wants the kernel's own answers.
func probeMisses(o objects) error {
	dir, mapFiles, err := o.directories()
	if err != nil {
		return err
	}
	errs := []error{}
	for what, name := range map[string]string{
		"named": o.Named.addresses().String(), "lost": o.Lost.addresses().String(), "anonymous": o.Pieces[0].addresses().String(),
	} {
		_, err := unix.Openat(mapFiles, name, unix.O_RDONLY, 0)
		var st unix.Stat_t
		errs = append(errs, expect(what, err, unix.EPERM), expect("stat "+what, unix.Fstatat(mapFiles, name, &st, 0), unix.EPERM))
	}
	_, gone := unix.Openat(mapFiles, "1000-2000", unix.O_RDONLY, 0)
	_, err = unix.Openat(dir, "map_files/1000-2000", unix.O_RDONLY, 0)
	_, named := unix.Openat(dir, "map_files/"+o.Named.addresses().String(), unix.O_RDONLY, 0)
	_, bad := unix.Openat(999, "status", unix.O_RDONLY, 0)
	return errors.Join(append(errs, expect("no shared memory", err, unix.ENOENT), expect("no mapping", gone, unix.ENOENT), expect("file", named, unix.EPERM), expect("bad", bad, unix.EBADF))...)
}

func probeRing(o objects) error {
	_, mapFiles, err := o.directories()
	if err != nil {
		return err
	}
	name := o.Ring.addresses().String()
	_, err = unix.Openat(mapFiles, name, unix.O_RDONLY, 0)
	var st unix.Stat_t
	return errors.Join(expect("open", err, unix.ENXIO), unix.Fstatat(mapFiles, name, &st, 0), expect("mode", st.Mode, 0o600))
}

func probePieces(o objects) error {
	dir, _, err := o.directories()
	if err != nil {
		return err
	}
	for _, r := range o.Pieces {
		fd, err := unix.Openat(dir, "map_files/"+r.addresses().String(), unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		b := make([]byte, objectPages*pageSize)
		_, readErr := unix.Pread(fd, b, 0)
		err = errors.Join(readErr, unix.Fstat(fd, &st), expect("size", st.Size, len(b)), expect("pages", st.Blocks*512, 4*pageSize))
		for page, want := range map[int]string{1: "page 1", 10: "page 10", 15: "", 20: "page 20", 50: "page 50"} {
			got := strings.TrimRight(string(b[page*pageSize:(page+1)*pageSize]), "\x00")
			err = errors.Join(err, expect("page", got, want))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func probeTooLarge(o objects) error {
	dir, _, err := o.directories()
	if err != nil {
		return err
	}
	_, err = unix.Openat(dir, "map_files/"+o.Pieces[0].addresses().String(), unix.O_RDONLY, 0)
	return expect("open", err, unix.ENOMEM)
}

func probeStatus(o objects, mode, number string) error {
	dir, _, err := o.directories()
	if err != nil {
		return err
	}
	fd, err := unix.Openat(dir, "status", unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	b := make([]byte, 8192)
	n, err := unix.Read(fd, b)
	text := string(b[:n])
	return errors.Join(err, expect("mode", strings.Contains(text, "\nSeccomp:\t"+mode+"\n"), true),
		expect("number", strings.Contains(text, "\nSeccomp_filters:\t"+number+"\n"), true),
		expect("number in the container", strings.Contains(text, fmt.Sprintf("\nPid:\t%d\n", o.PID)), true))
}

// probeOther asks about files that only have the names.
func probeOther(o objects) error {
	if err := errors.Join(os.WriteFile("status", []byte("mine"), 0o600), os.WriteFile("7f00-7f10", []byte("mine"), 0o600)); err != nil {
		return err
	}
	dir, err := unix.Open(".", handleFlags, 0)
	if err != nil {
		return err
	}
	for _, name := range []string{"status", "7f00-7f10"} {
		fd, err := unix.Openat(dir, name, unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		b := make([]byte, 8)
		n, err := unix.Read(fd, b)
		var st unix.Stat_t
		if err := errors.Join(err, expect(name, string(b[:n]), "mine"), unix.Fstatat(dir, name, &st, 0), expect("size", st.Size, 4)); err != nil {
			return err
		}
	}
	return nil
}

// probeKeeper names the keeper's process, which the /proc of this container shows.
func probeKeeper(o objects) error {
	o.PID = 1
	dir, err := unix.Open("/proc/1", handleFlags, 0)
	if err != nil {
		return err
	}
	if err := expect("this is the keeper's", readLink(dir, "ns/pid") == readLink(dir, "../self/ns/pid"), false); err != nil {
		return err
	}
	_, err = unix.Openat(dir, "map_files/"+o.Keepers.addresses().String(), unix.O_RDONLY, 0)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return nil
	}
	return expect("open", err, unix.EPERM)
}
