package rootfs

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// registriesConf is what containers-registries.conf(5), version 2, says of registries, mirrors and short names.
type registriesConf struct {
	Search     []string          `toml:"unqualified-search-registries"`
	Registries []registryConf    `toml:"registry"`
	Aliases    map[string]string `toml:"aliases"`
	OldSearch  any               `toml:"registries"` // version 1
}

type registryConf struct {
	Prefix             string       `toml:"prefix"`
	Location           string       `toml:"location"`
	Insecure           bool         `toml:"insecure"`
	Blocked            bool         `toml:"blocked"`
	Mirrors            []mirrorConf `toml:"mirror"`
	MirrorByDigestOnly bool         `toml:"mirror-by-digest-only"`
}

type mirrorConf struct {
	Location       string `toml:"location"`
	Insecure       bool   `toml:"insecure"`
	PullFromMirror string `toml:"pull-from-mirror"` // all, digest-only, tag-only
}

// loadRegistriesConf reads the main file, the user's if there is one, and the drop-ins after it, of which the user's
// come last.
//
// Errors: BadConfig.
func loadRegistriesConf() (*registriesConf, error) {
	conf := &registriesConf{Aliases: map[string]string{}}
	for _, path := range registriesConfFiles() {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, badConf(path, err)
		}
		read, err := parseRegistriesConf(content)
		if err != nil {
			return nil, badConf(path, err)
		}
		conf.merge(read)
	}
	return conf, nil
}

func badConf(path string, err error) error {
	return fail(BadConfig, "mend it, see containers-registries.conf(5)", "read %s: %w", path, err)
}

// registriesConfFiles lists the files that exist, and the one that somebody named.
func registriesConfFiles() []string {
	if path := os.Getenv("CONTAINERS_REGISTRIES_CONF"); path != "" {
		return []string{path}
	}
	var paths []string
	for _, path := range append(userConfig("containers/registries.conf"), "/etc/containers/registries.conf") {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			paths = append(paths, path)
			break
		}
	}
	for _, dir := range append([]string{"/etc/containers/registries.conf.d"}, userConfig("containers/registries.conf.d")...) {
		dropIns, err := filepath.Glob(filepath.Join(dir, "*.conf")) // sorted
		if err == nil {
			paths = append(paths, dropIns...)
		}
	}
	return paths
}

func parseRegistriesConf(content []byte) (*registriesConf, error) {
	conf := &registriesConf{}
	if err := toml.Unmarshal(content, conf); err != nil {
		return nil, err
	}
	if conf.OldSearch != nil {
		return nil, errors.New("[registries.…] is of version 1 of the format, only version 2 is supported")
	}
	for i := range conf.Registries {
		if err := conf.Registries[i].complete(); err != nil {
			return nil, err
		}
	}
	return conf, nil
}

// complete fills in what may be left out and refuses what cannot be.
func (r *registryConf) complete() error {
	if r.Prefix == "" {
		r.Prefix = r.Location
	}
	wildcard := strings.HasPrefix(r.Prefix, "*.")
	switch {
	case r.Prefix == "":
		return errors.New("a [[registry]] has neither prefix nor location")
	case strings.Contains(r.Prefix+r.Location, "://"):
		return errors.New("prefix and location of " + r.Prefix + " are to be names without ://")
	case r.Location == "" && !wildcard:
		r.Location = r.Prefix
	}
	for _, mirror := range r.Mirrors {
		if mirror.Location == "" || strings.Contains(mirror.Location, "://") {
			return errors.New("a mirror of " + r.Prefix + " has no location, or one with ://")
		}
		if !slices.Contains([]string{"", "all", "digest-only", "tag-only"}, mirror.PullFromMirror) {
			return errors.New("pull-from-mirror of " + mirror.Location + " is none of all, digest-only and tag-only")
		}
	}
	return nil
}

// merge lets what comes later replace what has the same prefix or name.
func (c *registriesConf) merge(later *registriesConf) {
	if later.Search != nil {
		c.Search = later.Search
	}
	maps.Copy(c.Aliases, later.Aliases)
	for _, r := range later.Registries {
		c.Registries = slices.DeleteFunc(c.Registries, func(old registryConf) bool { return old.Prefix == r.Prefix })
		c.Registries = append(c.Registries, r)
	}
}

// find returns the entry whose prefix fits name, "host/path", best; nil if none does.
func (c *registriesConf) find(name string) *registryConf {
	var best *registryConf
	for i, r := range c.Registries {
		if r.matched(name) != "" && (best == nil || len(r.Prefix) > len(best.Prefix)) {
			best = &c.Registries[i]
		}
	}
	return best
}

// matched is the part of name that the prefix stands for; empty if it does not fit.
func (r *registryConf) matched(name string) string {
	host, _, _ := strings.Cut(name, "/")
	if suffix, ok := strings.CutPrefix(r.Prefix, "*"); ok {
		domain, path, _ := strings.Cut(suffix, "/")
		if strings.HasSuffix(host, domain) && len(host) > len(domain) && hasPathPrefix(name, filepath.Join(host, path)) {
			return filepath.Join(host, path)
		}
		return ""
	}
	if hasPathPrefix(name, r.Prefix) {
		return r.Prefix
	}
	return ""
}

func hasPathPrefix(name, prefix string) bool {
	return name == prefix || strings.HasPrefix(name, prefix+"/")
}

// insecure is true if plain http and unknown certificates are allowed for a host and port, by any entry that leads there.
func (c *registriesConf) insecure(host string) bool {
	leads := func(location string) bool { return hasPathPrefix(location, host) }
	for _, r := range c.Registries {
		if r.Insecure && (leads(r.Location) || r.Location == "" && r.matched(host) != "") {
			return true
		}
		if slices.ContainsFunc(r.Mirrors, func(m mirrorConf) bool { return m.Insecure && leads(m.Location) }) {
			return true
		}
	}
	return false
}
