package main

import (
	"fmt"
	"strings"
)

// pure are the packages that callers link. They build without cgo, and a test binary does not grow by what only the
// keeper needs.
var pure = []string{"./sandbox", "./testkit/..."}

var keepersOnly = []string{
	"github.com/opencontainers/runc", "github.com/opencontainers/cgroups", "github.com/google/go-containerregistry",
	"github.com/rootless-containers/rootlesskit", "github.com/spf13/cobra",
}

// checkPure fails if a caller's package needs cgo or links what is the keeper's, also by way of others.
func (c config) checkPure() error {
	build := c.goCommand(append([]string{"build"}, pure...)...)
	build.Env = append(build.Env, "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build without cgo: %w\n%s", err, out)
	}
	list := c.goCommand(append([]string{"list", "-deps"}, pure...)...)
	out, err := list.Output()
	if err != nil {
		return fmt.Errorf("list dependencies: %w", err)
	}
	for _, dependency := range strings.Fields(string(out)) {
		for _, module := range keepersOnly {
			if strings.HasPrefix(dependency, module) {
				return fmt.Errorf("%s depend on %s", strings.Join(pure, " or "), dependency)
			}
		}
	}
	return nil
}
