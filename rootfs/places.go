package rootfs

import (
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// meanings lists what a reference may mean, the likeliest first: a full name only itself, a short name what the aliases
// of registries.conf say, or else one name for each of its search registries. Without any that is Docker Hub.
func (c *registriesConf) meanings(ref Reference) ([]Reference, error) {
	if !ref.Short {
		return []Reference{ref}, nil
	}
	short := ref.familiarName()
	if alias := c.Aliases[short]; alias != "" {
		meaning, err := elsewhere(ref, alias)
		return []Reference{meaning}, err
	}
	if len(c.Search) == 0 || slices.Equal(c.Search, []string{defaultDomain}) {
		return []Reference{ref}, nil
	}
	var meanings []Reference
	for _, domain := range c.Search {
		meaning, err := elsewhere(ref, domain+"/"+short)
		if err != nil {
			return nil, err
		}
		meanings = append(meanings, meaning)
	}
	return meanings, nil
}

// elsewhere is ref under another name.
func elsewhere(ref Reference, to string) (Reference, error) {
	named, err := splitName(to)
	if err != nil || named.Short || named.Digest != "" || strings.Contains(to[strings.LastIndex(to, "/"):], ":") {
		return ref, fail(BadConfig, "mend it, see containers-registries.conf(5)", "read registries.conf: bad name %q", to)
	}
	ref.Domain, ref.Repository = named.Domain, named.Repository
	return ref, nil
}

// place is a repository that may have an image.
type place struct {
	repo   name.Repository
	mirror bool
}

// places lists where registries.conf has an image looked for: in its mirrors, then in its home.
//
// Errors: Blocked, BadConfig.
func (c *registriesConf) places(ref Reference, plainHTTP bool) ([]place, error) {
	full := ref.Domain + "/" + ref.Repository
	conf := c.find(full)
	if conf == nil {
		return c.appendPlace(nil, full, false, plainHTTP)
	}
	if conf.Blocked {
		return nil, fail(Blocked, "", "registries.conf blocks %s", conf.Prefix)
	}
	rest := strings.TrimPrefix(full, conf.matched(full))
	var places []place
	var err error
	for _, m := range conf.Mirrors {
		if conf.mayAsk(m, ref) {
			if places, err = c.appendPlace(places, m.Location+rest, true, plainHTTP); err != nil {
				return nil, err
			}
		}
	}
	if conf.Location != "" {
		full = conf.Location + rest
	}
	return c.appendPlace(places, full, false, plainHTTP)
}

func (r *registryConf) mayAsk(m mirrorConf, ref Reference) bool {
	switch m.PullFromMirror {
	case "digest-only":
		return ref.Digest != ""
	case "tag-only":
		return ref.Digest == ""
	}
	return ref.Digest != "" || !r.MirrorByDigestOnly
}

func (c *registriesConf) appendPlace(places []place, full string, mirror, plainHTTP bool) ([]place, error) {
	host, path, _ := strings.Cut(full, "/")
	options := []name.Option{name.StrictValidation}
	if plainHTTP || isLoopback(host) || c.insecure(host) {
		options = append(options, name.Insecure)
	}
	registry, err := name.NewRegistry(host, options...)
	if err != nil || path == "" {
		return nil, fail(BadConfig, "mend it, see containers-registries.conf(5)", "read registries.conf: bad location %q", full)
	}
	return append(places, place{registry.Repo(path), mirror}), nil
}
