package userns

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// ProbeVerb is the first argument of the child that [Checks] starts; the second is a directory for [ProbeInside].
const ProbeVerb = "probe"

// attempt is what came of entering namespaces to probe there.
type attempt struct {
	mapping Mapping
	refused error   // why the mapping that was detected could not be had, if a single one could
	err     error   // why none could
	inside  []Check // the inner probes, all unknown after an error
}

// tryEntering runs the inner probes with the best mapping, and if that cannot be had with a single one, so that a fault of
// newuidmap is not taken for one of the namespaces.
func tryEntering(ctx context.Context, dir string) attempt {
	m, err := Detect()
	if err != nil {
		return attempt{err: err, inside: untried(err)}
	}
	inside, err := probeIn(ctx, m, dir)
	if err == nil || m.Single() {
		return attempt{mapping: m, err: err, inside: inside}
	}
	inside, err2 := probeIn(ctx, own(), dir)
	if err2 != nil {
		return attempt{mapping: m, err: err2, inside: inside}
	}
	return attempt{mapping: own(), refused: err, inside: inside}
}

// refusal is the line that entering failed with.
type refusal struct{ line string }

func (r *refusal) Error() string { return r.line }

// probeIn runs the inner probes in a child. The directory they try things in is made here, so that it goes even when the
// child is killed; where none can be made the child finds that out itself.
func probeIn(ctx context.Context, m Mapping, dir string) ([]Check, error) {
	if own, err := os.MkdirTemp(dir, ".bivouac-probe-"); err == nil {
		defer removeTried(own)
		dir = own
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "/proc/self/exe", ProbeVerb, dir)
	cmd.Env = append(os.Environ(), EnterEnv(m))
	cmd.Stderr = &stderr
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	checks, err := readProbes(out, stderr.String(), err)
	if err != nil {
		return untried(err), err
	}
	return checks, nil
}

func readProbes(out []byte, stderr string, err error) ([]Check, error) {
	line, isOurs := strings.CutPrefix(strings.TrimSpace(stderr), "bivouac: ")
	exit, ended := errors.AsType[*exec.ExitError](err)
	if ended && exit.ExitCode() == 125 && isOurs {
		return nil, &refusal{line}
	}
	if err != nil {
		return nil, fmt.Errorf("probe inside: %w: %s", err, line)
	}
	var checks []Check
	if err := json.Unmarshal(out, &checks); err != nil {
		return nil, fmt.Errorf("probe inside: read the answer: %w", err)
	}
	return checks, nil
}

var namespacesCheck = Check{Name: "user namespaces", Required: true,
	Means: "a container is a set of namespaces, which an ordinary user may only have together with a user namespace"}

func (a attempt) namespaces() verdict {
	switch {
	case a.err == nil && a.mapping.Single():
		return yes("entered one as its root, with a single id")
	case a.err == nil:
		return yes("entered one as its root, with %d user ids", count(a.mapping.UIDs))
	}
	return a.failure()
}

// failure is "no" if something refused and "unknown" if the attempt itself went wrong.
func (a attempt) failure() verdict {
	if u, ok := errors.AsType[*Unsupported](a.err); ok {
		return no(fmt.Errorf("%s: %w", u.Feature, u.Err), u.Remedy)
	}
	if r, ok := errors.AsType[*refusal](a.err); ok {
		return r.verdict()
	}
	return unknown(a.err, "run it again, as an ordinary user")
}

// verdict parts the line into what happened and what mends it, which enter.c separates by a semicolon.
func (r *refusal) verdict() verdict {
	what, remedy, _ := strings.Cut(r.line, "; ")
	return no(errors.New(what), remedy)
}

var appArmorCheck = Check{Name: "AppArmor", Required: true,
	Means: "Ubuntu's AppArmor can let ordinary users make user namespaces in which they may do nothing"}

const appArmorSwitch = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"

func (a attempt) appArmor() verdict {
	text, err := os.ReadFile(appArmorSwitch)
	restricts := strings.TrimSpace(string(text)) == "1"
	switch {
	case errors.Is(err, os.ErrNotExist):
		return yes("this kernel has no such restriction")
	case err == nil && !restricts:
		return yes("the restriction is switched off")
	case a.err == nil:
		return yes("a profile exempts this program from the restriction")
	case err != nil:
		return unknown(err, "look at it: sudo sysctl kernel.apparmor_restrict_unprivileged_userns")
	}
	return no(errors.New("kernel.apparmor_restrict_unprivileged_userns is 1, and no profile exempts this program"),
		"sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0")
}

var helpersCheck = Check{Name: "newuidmap and newgidmap",
	Means: "they map subordinate ids; without them every file of a container belongs to one user, and chown is emulated"}

func (a attempt) helpers() verdict {
	helperErr := checkHelpers()
	switch u, missing := errors.AsType[*Unsupported](helperErr); {
	case os.Geteuid() == 0 && a.err == nil:
		return yes("not needed: the outer container's root maps its ids itself")
	case missing:
		return no(u.Err, u.Remedy)
	case a.refused != nil:
		return a.refusedVerdict()
	case a.err == nil && !a.mapping.Single():
		return yes("mapped %d user ids and %d group ids", count(a.mapping.UIDs), count(a.mapping.GIDs))
	case os.Getenv(ModeVariable) == "single":
		return unknown(errors.New("installed, and not tried because of BIVOUAC_IDMAP=single"), "unset BIVOUAC_IDMAP")
	}
	return unknown(errors.New("installed, and not tried for want of what the lines above miss"), "mend the lines above first")
}

func (a attempt) refusedVerdict() verdict {
	if r, ok := errors.AsType[*refusal](a.refused); ok {
		return r.verdict()
	}
	return unknown(a.refused, "run it again")
}

// count returns how many ids are mapped.
func count(maps []IDMap) uint64 {
	var n uint64
	for _, m := range maps {
		n += uint64(m.Size)
	}
	return n
}
