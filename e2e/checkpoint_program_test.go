package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// programVariable makes this test binary a program for containers. Its values are
//
//	things      has one of everything that processes can have, and looks after it at GET /check
//	hold NAME   has the one thing that cannot be checkpointed
//	child       answers each line, for which it counts up in the memory that is its descriptor 3
//	idle        does nothing
//	facts PIDS  tells how processes are confined, outside of containers
//
// The first two serve HTTP at port 8080: GET / answers "alive".
const programVariable = "BIVOUAC_E2E_PROGRAM"

func init() {
	if version, ok := strings.CutPrefix(filepath.Base(os.Args[0]), "criu-"); ok {
		fmt.Println("Version:", version)
		os.Exit(0)
	}
	role, argument, _ := strings.Cut(os.Getenv(programVariable), " ")
	var err error
	switch role {
	case "":
		return
	case "things":
		err = serveThings()
	case "hold":
		err = serveHeld(argument)
	case "child":
		err = countForParent()
	case "facts":
		if err = printFacts(strings.Fields(argument)); err == nil {
			os.Exit(0)
		}
	case "idle":
		select {}
	}
	fmt.Fprintln(os.Stderr, role, argument, err)
	os.Exit(1)
}

// programSpec runs this binary in a container.
func programSpec(role string) sandbox.Spec {
	own, err := os.Executable()
	if err != nil {
		panic(err)
	}
	spec := checkpointable(busyboxSpec(""))
	spec.Args = []string{"/program"}
	spec.Env = []string{programVariable + "=" + role}
	spec.Mounts = []sandbox.Mount{{Type: sandbox.MountBind, Source: own, Target: "/program", ReadOnly: true}}
	return spec
}

func serve(more map[string]func() (string, error)) error {
	http.HandleFunc("GET /{$}", answer(func() (string, error) { return "alive", nil }))
	for path, f := range more {
		http.HandleFunc("GET "+path, answer(f))
	}
	return http.ListenAndServe(":8080", nil)
}

func answer(f func() (string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		text, err := f()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, text)
	}
}

// serveThings makes each thing, whose checks may be repeated.
func serveThings() error {
	if err := os.MkdirAll("/data", 0o755); err != nil {
		return err
	}
	checks := map[string]func() error{}
	for name, make := range things {
		check, err := make()
		if err != nil {
			return fmt.Errorf("make %s: %w", name, err)
		}
		checks[name] = check
	}
	return serve(map[string]func() (string, error){
		"/check": func() (string, error) {
			var errs []error
			for name, check := range checks {
				if err := check(); err != nil {
					errs = append(errs, fmt.Errorf("%s: %w", name, err))
				}
			}
			return "all is well", errors.Join(errs...)
		},
		"/keyring": func() (string, error) {
			id, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
			if err != nil {
				return "", err
			}
			text, err := unix.KeyctlString(unix.KEYCTL_DESCRIBE, id)
			return fmt.Sprint(id, " ", text), err
		},
	})
}

// serveHeld makes what a checkpoint refuses.
func serveHeld(name string) error {
	hold, ok := held[name]
	if !ok {
		return errors.New("there is no such thing")
	}
	if err := hold(); err != nil {
		return err
	}
	return serve(nil)
}

// held are things that CRIU cannot checkpoint.
var held = map[string]func() error{
	"io_uring": func() error {
		var params [120]byte
		return sys(unix.SYS_IO_URING_SETUP, 8, pointer(&params[0]))
	},
	"userfaultfd": func() error {
		const userModeOnly = 1 // UFFD_USER_MODE_ONLY of linux/userfaultfd.h
		return sys(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|userModeOnly)
	},
	"message queue": func() error {
		name, _ := unix.BytePtrFromString("queue")
		return sys(unix.SYS_MQ_OPEN, pointer(name), unix.O_CREAT|unix.O_RDWR, 0o600, 0)
	},
	"seccomp filter": func() error {
		allow := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}}
		program := unix.SockFprog{Len: 1, Filter: &allow[0]}
		return sys(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, pointer(&program))
	},
	"traced process":      func() error { return startChild("idle", &syscall.SysProcAttr{Ptrace: true}) },
	"pid namespace":       func() error { return startChild("idle", &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}) },
	"user namespace":      func() error { return startChild("idle", &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}) },
	"removed mapped file": func() error { return removedMapping() },
	"program from memory": func() error {
		fd, err := unix.MemfdCreate("program", 0)
		if err != nil {
			return err
		}
		text, err := os.ReadFile("/program")
		if err != nil {
			return err
		}
		if _, err := unix.Write(fd, text); err != nil {
			return err
		}
		path := fmt.Sprintf("/proc/self/fd/%d", fd)
		return unix.Exec(path, []string{"/program"}, []string{programVariable + "=hold nothing"})
	},
	"nothing": func() error { return nil },
}

func removedMapping() error {
	f, err := os.Create("/mapped")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := errors.Join(f.Truncate(4096), os.Remove("/mapped")); err != nil {
		return err
	}
	_, err = unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE)
	return err
}
