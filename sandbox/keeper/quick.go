package keeper

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// startEnv is the environment variable that chooses who makes a container from inside: "stock" is libcontainer's own init,
// "quick" our C code (stage.c) or an error. Empty is our C code where it can, otherwise libcontainer's.
const startEnv = "BIVOUAC_START"

// The ways that startEnv chooses from.
const (
	wayStock = "stock"
	wayQuick = "quick"
)

func startWay() (string, error) {
	switch way := os.Getenv(startEnv); way {
	case "", wayStock, wayQuick:
		return way, nil
	default:
		return "", sandbox.Errorf(sandbox.CodeInvalid, "start container: %s=%q is not known", startEnv, way).WithRemedy("set it to stock or quick, or unset it")
	}
}

// startQuickly tells whether it has the last word on whether the container runs. Without a terminal, on Linux 5.12 or
// newer, and with mounts that can be said in steps, it mostly has.
func (c *container) startQuickly(stdio []*os.File) (done bool, err error) {
	way, err := startWay()
	if err != nil {
		return true, err
	}
	if way != wayStock {
		c.plan.stage = c.quickStage()
	}
	if c.plan.stage == nil {
		return way == wayQuick, errNotQuick(way)
	}
	failed, err := c.attempt(stdio)
	if failed == nil || way == wayQuick {
		return true, errors.Join(failed, err)
	}
	c.warnings = append(c.warnings, fmt.Sprintf("the quick start failed (%v), libcontainer's init did it", failed))
	return false, nil
}

func errNotQuick(way string) error {
	if way != wayQuick {
		return nil
	}
	return sandbox.Errorf(sandbox.CodeUnsupported, "start container: not with %s=quick: it has a terminal or mounts below /proc, or the kernel is older than 5.12", startEnv).WithRemedy("unset it")
}

// quickStage is nil where libcontainer's own init is to make the container.
func (c *container) quickStage() *stage {
	if c.spec.Terminal != nil || !hasMountAttributes() {
		return nil
	}
	s, _ := newStage(c.config, c.user, c.k.single(), c.proc.dir)
	return s
}

// hasMountAttributes tells whether there is mount_setattr(2), since Linux 5.12.
var hasMountAttributes = sync.OnceValue(func() bool {
	return !errors.Is(unix.MountSetattr(-1, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}), unix.ENOSYS)
})

// explain returns what the first process said of a failed start, otherwise what libcontainer said.
func (c *container) explain(s *socket, err error) error {
	if c.plan.stage == nil {
		return err
	}
	message, _, failed := s.receive()
	r, ok := parseReport(message)
	if failed != nil || !ok {
		return err
	}
	if r.atStep() && r.step < len(c.plan.stage.steps) {
		step := c.plan.stage.steps[r.step]
		return fmt.Errorf("mount %s on %s: %w", step.source, step.target, r.errno)
	}
	return errors.New(r.String())
}

// quickJoin is nil where libcontainer's own init is to execute the session's program.
func (x *session) quickJoin(way string) *stage {
	if way == wayStock || x.spec.Terminal != nil || !hasMountAttributes() {
		return nil
	}
	return newJoin(x.process.Capabilities, x.user, x.c.k.single(), x.process.Cwd)
}

// isOfProgram tells whether all went well but for the program itself.
func isOfProgram(err error) bool {
	code := sandbox.CodeOf(err)
	return code == sandbox.CodeNoProgram || code == sandbox.CodeNotExecutable
}
