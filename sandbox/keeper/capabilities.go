package keeper

import (
	"slices"
	"strings"

	"github.com/moby/sys/capability"

	"github.com/bivouac-run/bivouac/sandbox"
)

// defaultCapabilities is Docker's default set.
var defaultCapabilities = []string{
	"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
	"CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
}

// resolveCapabilities applies --cap-add and --cap-drop to Docker's default set, ALL first, as Docker does.
func resolveCapabilities(add, drop []string) ([]string, error) {
	add, err := capabilityNames(add)
	if err != nil {
		return nil, err
	}
	if drop, err = capabilityNames(drop); err != nil {
		return nil, err
	}
	set := slices.Clone(defaultCapabilities)
	if slices.Contains(drop, "ALL") {
		set = nil
	}
	if slices.Contains(add, "ALL") {
		set = allCapabilities()
	}
	for _, c := range add {
		if c != "ALL" && !slices.Contains(set, c) {
			set = append(set, c)
		}
	}
	set = slices.DeleteFunc(set, func(c string) bool { return slices.Contains(drop, c) })
	slices.Sort(set)
	return set, nil
}

// allCapabilities lists those that the kernel has.
func allCapabilities() []string {
	list, err := capability.ListSupported()
	if err != nil {
		list = capability.ListKnown()
	}
	names := make([]string, len(list))
	for i, c := range list {
		names[i] = "CAP_" + strings.ToUpper(c.String())
	}
	return names
}

func capabilityNames(given []string) ([]string, error) {
	known := capability.ListKnown()
	names := make([]string, len(given))
	for i, name := range given {
		short := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
		names[i] = "CAP_" + short
		if short == "ALL" {
			names[i] = short
			continue
		}
		if !slices.ContainsFunc(known, func(c capability.Cap) bool { return strings.EqualFold(c.String(), short) }) {
			return nil, sandbox.Errorf(sandbox.CodeInvalid, "parse capability %q: no such capability", name).WithRemedy("see capabilities(7) for the names")
		}
	}
	return names, nil
}
