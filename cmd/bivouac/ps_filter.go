package main

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
)

// psFilters are those of ps.
type psFilters struct {
	filters
	names, ids []*regexp.Regexp
}

// parsePsFilters reads --filter flags as far as that is possible without the containers.
//
// Errors: usageError.
func parsePsFilters(texts []string) (*psFilters, error) {
	parsed, err := parseFilters(texts, "id", "name", "label", "exited", "status", "ancestor", "before", "since", "volume", "publish", "expose", "health", "network")
	if err != nil {
		return nil, err
	}
	f := &psFilters{filters: parsed}
	for key, into := range map[string]*[]*regexp.Regexp{"name": &f.names, "id": &f.ids} {
		for _, text := range f.filters[key] {
			re, err := regexp.Compile(text)
			if err != nil {
				return nil, usageErrorf("read --filter %s=%s: %v", key, text, err)
			}
			*into = append(*into, re)
		}
	}
	for key, values := range map[string][]string{
		"status":  {"created", "running", "paused", "restarting", "exited", "removing", "dead"},
		"health":  {"starting", "healthy", "unhealthy", "none"},
		"network": {"none", "host"},
	} {
		for _, value := range f.filters[key] {
			if !slices.Contains(values, value) {
				return nil, usageErrorf("read --filter %s=%s: there is none; use %s", key, value, strings.Join(values, ", "))
			}
		}
	}
	return f, f.checkNumbers()
}

func (f *psFilters) checkNumbers() error {
	for _, value := range f.filters["exited"] {
		if _, err := strconv.Atoi(value); err != nil {
			return usageErrorf("read --filter exited=%s: needs an exit code", value)
		}
	}
	for _, key := range []string{"publish", "expose"} {
		for _, value := range f.filters[key] {
			if _, ok := parsePortRange(value); !ok {
				return usageErrorf("read --filter %s=%s: needs a port, or a range, with or without a protocol, such as 80, 53/udp or 8000-8080/tcp", key, value)
			}
		}
	}
	return nil
}

// matcher tells of each container of a list, which is from the newest to the oldest, whether all filters fit.
//
// Errors: CodeNotFound for a container of before or since.
func (f *psFilters) matcher(list []sandbox.Record) (func(*sandbox.Record) bool, error) {
	younger, older, err := f.bounds(list)
	if err != nil {
		return nil, err
	}
	ancestors := f.ancestors()
	return func(r *sandbox.Record) bool {
		return matchesAnyOf(f.ids, r.ID) && (matchesAnyOf(f.names, r.Name) || matchesAnyOf(f.names, "/"+r.Name)) && f.labelsFit(r.Labels) && f.stateFits(r) &&
			(younger == nil || r.Created.After(younger.Created)) && (older == nil || r.Created.Before(older.Created)) &&
			f.thingsFit(r) && (ancestors == nil || ancestors(r))
	}, nil
}

// bounds finds the containers of since and before.
func (f *psFilters) bounds(list []sandbox.Record) (younger, older *sandbox.Record, err error) {
	for key, found := range map[string]**sandbox.Record{"since": &younger, "before": &older} {
		for _, name := range f.filters[key] {
			i := slices.IndexFunc(list, func(r sandbox.Record) bool { return r.Name == name || strings.HasPrefix(r.ID, name) && name != "" })
			if i < 0 {
				return nil, nil, sandbox.Errorf(sandbox.CodeNotFound, "list containers %s %q: no container has that name or id", key, name).WithRemedy("see bivouac ps -a")
			}
			*found = &list[i]
		}
	}
	return younger, older, nil
}

func matchesAnyOf(res []*regexp.Regexp, text string) bool {
	return len(res) == 0 || slices.ContainsFunc(res, func(re *regexp.Regexp) bool { return re.MatchString(text) })
}

func (f *psFilters) stateFits(r *sandbox.Record) bool {
	health := "none"
	if r.Health != nil && r.Health.Status != "" {
		health = string(r.Health.Status)
	}
	return f.any("status", func(v string) bool { return v == string(r.State) }) &&
		f.any("health", func(v string) bool { return v == health }) &&
		f.any("exited", func(v string) bool { return r.State == sandbox.StateExited && v == strconv.Itoa(r.Exit.Code) })
}

func (f *psFilters) thingsFit(r *sandbox.Record) bool {
	return f.any("network", func(v string) bool { return v == string(networkOf(r)) }) &&
		f.any("volume", func(v string) bool { return hasVolume(r, v) }) &&
		f.any("publish", func(v string) bool { return hasPort(publishedNames(r), v) }) &&
		f.any("expose", func(v string) bool { return hasPort(append(publishedNames(r), r.ExposedPorts...), v) })
}

// hasVolume looks for a volume's name, a bind mount's source, or the place of either in the container.
func hasVolume(r *sandbox.Record, wanted string) bool {
	clean := path.Clean(wanted)
	return slices.ContainsFunc(r.Volumes, func(v sandbox.VolumeMount) bool { return v.Name == wanted || path.Clean(v.Target) == clean }) ||
		slices.ContainsFunc(r.Spec.Mounts, func(m sandbox.Mount) bool {
			return m.Type != sandbox.MountTmpfs && (m.Source == wanted || path.Clean(m.Target) == clean)
		})
}

func publishedNames(r *sandbox.Record) []string {
	var names []string
	for _, p := range slices.Concat(r.Ports, r.Spec.Publish) {
		names = append(names, portName(p))
	}
	return names
}

// portRange is PORT[-LAST][/PROTOCOL].
type portRange struct {
	first, last uint64
	protocol    string
}

func parsePortRange(text string) (portRange, bool) {
	ports, protocol, given := strings.Cut(text, "/")
	from, to, ranged := strings.Cut(ports, "-")
	if !given {
		protocol = "tcp"
	}
	if !ranged {
		to = from
	}
	first, err1 := strconv.ParseUint(from, 10, 16)
	last, err2 := strconv.ParseUint(to, 10, 16)
	return portRange{first, last, protocol}, err1 == nil && err2 == nil && first <= last
}

// hasPort tells whether one of the ports lies in the wanted range.
func hasPort(names []string, wanted string) bool {
	w, ok := parsePortRange(wanted)
	return ok && slices.ContainsFunc(names, func(name string) bool {
		p, ok := parsePortRange(name)
		return ok && p.protocol == w.protocol && p.first <= w.last && p.last >= w.first
	})
}

// ancestors tells which containers are made from one of the images of the filters: by the image's name, its id or digest, or
// because its layers are the first of the container's image. It is nil without such filters.
func (f *psFilters) ancestors() func(*sandbox.Record) bool {
	if !f.has("ancestor") {
		return nil
	}
	store, err := openStore()
	var images []ancestor
	for _, name := range f.filters["ancestor"] {
		a := ancestor{name: name}
		if ref, err := rootfs.ParseReference(name); err == nil {
			a.full = ref.String()
		}
		if err == nil {
			if found, err := store.Inspect(name, ""); err == nil {
				a.id, a.layers = found.ID.String(), asTexts(found.RootFS.Layers)
			}
		}
		images = append(images, a)
	}
	return func(r *sandbox.Record) bool {
		return slices.ContainsFunc(images, func(a ancestor) bool { return a.isOf(r) })
	}
}

// ancestor is an image that containers may be made from. What the store does not have of it is empty.
type ancestor struct {
	name, full, id string
	layers         []string
}

func (a *ancestor) isOf(r *sandbox.Record) bool {
	_, hex, _ := strings.Cut(r.Image.ID, ":")
	switch {
	case a.name == r.Image.Name || a.full != "" && a.full == r.Image.Name || imageName(r.Image.Name) == a.name:
		return true
	case r.Image.ID != "" && (a.id == r.Image.ID || a.name == r.Image.ID || len(a.name) >= 4 && strings.HasPrefix(hex, a.name)):
		return true
	}
	return len(a.layers) > 0 && len(r.Layers) >= len(a.layers) && slices.Equal(a.layers, r.Layers[:len(a.layers)])
}

func asTexts[T ~string](list []T) []string {
	texts := make([]string, len(list))
	for i, t := range list {
		texts[i] = string(t)
	}
	return texts
}
