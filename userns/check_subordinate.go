package userns

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/moby/sys/user"
)

// usualIDs is how many ids a container can use: images own files by ids up to 65534 ("nobody") and 65535.
const usualIDs = 65536

var subordinateCheck = Check{Name: "subordinate ids",
	Means: "with them a container's users are real ones of the machine; without them there is one user, and chown is emulated"}

func probeSubordinate() verdict {
	if os.Geteuid() == 0 {
		return probeOuterIDs()
	}
	m, err := subordinateRanges()
	if err != nil {
		return no(err, grantCommand())
	}
	if users, groups := count(m.UIDs), count(m.GIDs); users < usualIDs || groups < usualIDs {
		return no(fmt.Errorf("%d user ids and %d group ids, own ones included, are less than the %d that images use",
			users, groups, usualIDs), grantCommand())
	}
	return yes("%s", m)
}

// probeOuterIDs answers for a container's root, who has the container's ids and needs no others.
func probeOuterIDs() verdict {
	initial, err := inInitialNamespace()
	if err != nil {
		return unknown(err, "mount /proc")
	}
	if initial {
		return unknown(errors.New("root has none, and needs none"), "run it as an ordinary user")
	}
	m, err := identity()
	if err != nil {
		return unknown(err, "mount /proc")
	}
	if m.Single() {
		return no(errors.New("the outer container has a single id"), "give the outer container's user subordinate ids")
	}
	return yes("the outer container's: %s", m)
}

// grantCommand gives the user 65536 ids that nobody else has.
func grantCommand() string {
	first := int64(100000)
	for _, path := range []string{"/etc/subuid", "/etc/subgid"} {
		ranges, err := user.ParseSubIDFile(path)
		if err != nil {
			continue // usermod makes a file that is missing
		}
		for _, r := range ranges {
			first = max(first, r.SubID+r.Count)
		}
	}
	name := userName(os.Geteuid())
	if name == "" {
		name = strconv.Itoa(os.Geteuid())
	}
	ids := fmt.Sprintf("%d-%d", first, first+usualIDs-1)
	return fmt.Sprintf("sudo usermod --add-subuids %s --add-subgids %s %s", ids, ids, name)
}
