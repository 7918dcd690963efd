package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/bivouac-run/bivouac/sandbox"
)

// setSecurity reads --security-opt, in Docker's forms KEY=VALUE and KEY:VALUE. What cannot be granted is refused.
func (f *runFlags) setSecurity(s *sandbox.Spec) error {
	for _, option := range f.security {
		key, value := option, ""
		if i := strings.IndexAny(option, "=:"); i >= 0 {
			key, value = option[:i], option[i+1:]
		}
		if err := securityOption(s, key, value); err != nil {
			return fmt.Errorf("--security-opt %s: %w", option, err)
		}
	}
	return nil
}

func securityOption(s *sandbox.Spec, key, value string) error {
	switch key {
	case "seccomp":
		return setSeccomp(s, value)
	case "no-new-privileges":
		if value != "" && value != "true" {
			return fmt.Errorf("it is always on; setuid programs gain nothing in these containers")
		}
		return nil
	case "systempaths":
		s.UnmaskPaths = true
		return oneOf("the value", value, "unconfined")
	case "apparmor":
		return oneOf("no profile can be applied without root; the value", value, "unconfined")
	case "label":
		return oneOf("no SELinux label can be applied without root; the value", value, "disable")
	default:
		return fmt.Errorf("unknown; use seccomp, no-new-privileges, systempaths, apparmor, label")
	}
}

func setSeccomp(s *sandbox.Spec, value string) error {
	switch value {
	case "":
		return fmt.Errorf("needs a file, or unconfined, or builtin")
	case "unconfined":
		s.Seccomp = value
	case "builtin":
		s.Seccomp = ""
	default:
		profile, err := os.ReadFile(value)
		if err != nil {
			return fmt.Errorf("read profile: %w", err)
		}
		if !json.Valid(profile) {
			return fmt.Errorf("read profile: %s is not JSON", value)
		}
		s.Seccomp = string(profile)
	}
	return nil
}
