package userns

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// roleVariable makes the test binary play a program that is started inside: it links the constructor as bivouac does.
const roleVariable = "USERNS_TEST_ROLE"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == ProbeVerb {
		playProbe(os.Args[2])
	}
	switch role, argument, _ := strings.Cut(os.Getenv(roleVariable), "="); role {
	case "":
		os.Exit(m.Run())
	case "report":
		playReport()
	case "exit":
		code, _ := strconv.Atoi(argument)
		os.Exit(code)
	case "sleep":
		fmt.Println("ready")
		time.Sleep(time.Minute)
	case "nested":
		playNested()
	case "exhausted":
		check(os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0))
		playAttempts()
	case "masked":
		check(syscall.Mount("/dev/null", "/proc/cpuinfo", "", syscall.MS_BIND, ""))
		playAttempts()
	case "caller":
		playCaller()
	case "survive":
		playSurvivor()
	}
	os.Exit(0)
}

// report is what a process sees of itself.
type report struct {
	PID, ParentPID, UID, GID, Session int
	Args, ProcMounts                  []string
	Mapping                           Mapping
	OwnGroup, Variable                bool
	RawEnvironment                    string
}

func playReport() {
	session, _, _ := syscall.RawSyscall(syscall.SYS_GETSID, 0, 0, 0)
	_, variable := os.LookupEnv(EnterVariable)
	mapping, err := Current()
	check(err)
	r := report{
		PID: os.Getpid(), ParentPID: os.Getppid(), UID: os.Getuid(), GID: os.Getgid(), Session: int(session),
		Args: os.Args[1:], Mapping: mapping, OwnGroup: syscall.Getpgrp() == os.Getpid(),
		Variable: variable, RawEnvironment: slurp("/proc/self/environ"),
	}
	for line := range strings.Lines(slurp("/proc/self/mountinfo")) {
		if strings.Contains(line, " - proc ") {
			r.ProcMounts = append(r.ProcMounts, line)
		}
	}
	check(json.NewEncoder(os.Stdout).Encode(r))
}

// playNested is a container's root that enters once more.
func playNested() {
	m, err := Detect()
	check(err)
	cmd := inside(m, "report")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	check(cmd.Run())
}

// playAttempts is a container's root that may not enter once more: it prints the failure and then the checks.
func playAttempts() {
	m, err := Detect()
	check(err)
	cmd := inside(m, "report")
	cmd.Stderr = os.Stderr
	code := exitCode(cmd.Run())
	check(os.Unsetenv(roleVariable))
	check(json.NewEncoder(os.Stdout).Encode(Checks(context.Background(), CheckOptions{})))
	os.Exit(code)
}

// playCaller starts a keeper from a terminal's foreground, and takes the terminal's signals itself.
func playCaller() {
	signal.Notify(make(chan os.Signal, 9), syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP)
	cmd := inside(own(), "survive")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	check(cmd.Run())
}

// playSurvivor outlives the terminal's signals, and has no terminal that could send it any.
func playSurvivor() {
	fmt.Println("ready")
	time.Sleep(100 * time.Millisecond)
	if tty, err := os.Open("/dev/tty"); err == nil {
		tty.Close()
		fmt.Println("still at the terminal")
	}
	fmt.Println("survived")
}

// playProbe is what bivouac does with these arguments.
func playProbe(dir string) {
	check(json.NewEncoder(os.Stdout).Encode(ProbeInside(dir)))
	os.Exit(0)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func slurp(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
