package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

const nameBuildah = "buildah"

// redisDockerfile is modelled on that of the official image, with packages from the context instead of sources from the
// network.
const redisDockerfile = `FROM %s

RUN set -eux; \
	groupadd -r -g 999 redis; \
	useradd -r -g redis -u 999 redis

COPY debs/ /tmp/debs/
RUN set -eux; \
	dpkg -i /tmp/debs/*.deb; \
	rm -rf /tmp/debs; \
	redis-cli --version; \
	redis-server --version

RUN mkdir /data && chown redis:redis /data
VOLUME /data
WORKDIR /data

COPY docker-entrypoint.sh /usr/local/bin/
ENTRYPOINT ["docker-entrypoint.sh"]

EXPOSE 6379
CMD ["redis-server"]
`

// repack runs in the image of Redis. It makes packages of all that is installed there and not in the base image, whose packages
// it reads, and puts them and the entrypoint below /out.
const repack = `set -eu
base=$(mktemp)
sort > "$base"
mkdir -p /out/debs
cp -L /usr/local/bin/docker-entrypoint.sh /out/
dpkg-query -W -f '${Package}\n' | sort | comm -23 - "$base" | while read -r p; do
  root=$(mktemp -d)
  dpkg-query -L "$p" | while read -r f; do
    if [ -d "$f" ]; then
      [ -L "$f" ] || mkdir -p "$root$f"
    elif [ -e "$f" ] || [ -L "$f" ]; then
      mkdir -p "$root$(dirname "$f")"
      cp -a "$f" "$root$f"
    fi
  done
  mkdir -m 755 "$root/DEBIAN"
  dpkg-query -s "$p" | sed '/^Status:/d;/^Conffiles:/d;/^ \/.* [0-9a-f]\{32\}/d' > "$root/DEBIAN/control"
  for s in preinst postinst prerm postrm conffiles triggers shlibs; do
    for i in /var/lib/dpkg/info/"$p".$s /var/lib/dpkg/info/"$p":*.$s; do
      [ ! -e "$i" ] || cp "$i" "$root/DEBIAN/$s"
    done
  done
  dpkg-deb -Zgzip -b "$root" "/out/debs/$p.deb" >&2
done`

func (l *lab) debian() string { return l.registry + "/debian:slim" }

// buildContests build the image of Redis for the first time, and again with nothing changed.
func buildContests(l *lab, c config) []contest {
	context := sync.OnceValues(l.redisContext)
	return []contest{
		{
			name: "build", title: "build: the image of Redis from packages, its base image being there", unit: "ms", meter: clock,
			warmups: 1, rounds: c.pulls, contenders: []*contender{buildBivouac(l, context, false), buildBuildah(l, context, false)},
		},
		{
			name: "rebuild", title: "rebuild: the same again, with nothing changed", unit: "ms", meter: clock,
			warmups: 2, rounds: c.checks, contenders: []*contender{buildBivouac(l, context, true), buildBuildah(l, context, true)},
		},
	}
}

// redisContext makes the directory that is built.
func (l *lab) redisContext() (string, error) {
	dir, err := l.newDir()
	if err != nil {
		return "", err
	}
	installed, err := l.output(l.bivouac(l.kitStore(), "run", l.debian(), "dpkg-query", "-W", "-f", `${Package}\n`))
	if err != nil {
		return "", err
	}
	make := l.bivouac(l.kitStore(), "run", "-i", "-v", dir+":/out", "--entrypoint", "", l.redis(), "sh", "-c", repack)
	make.Stdin = strings.NewReader(installed + "\n")
	if err := l.run(make); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "Dockerfile"), fmt.Appendf(nil, redisDockerfile, l.debian()), 0o644)
}

// buildBivouac builds in a store that has the base image.
func buildBivouac(l *lab, context func() (string, error), cached bool) *contender {
	c := &contender{name: nameBivouac, ours: true}
	dir := ""
	build := func(store string) *exec.Cmd { return l.bivouac(store, "build", "--quiet", "--tag", "redis", dir) }
	c.prepare = func() (err error) {
		if dir, err = context(); err != nil || !cached {
			return err
		}
		return l.run(build(filepath.Join(c.dir, "store")))
	}
	if cached {
		c.commands = func() []*exec.Cmd { return []*exec.Cmd{build(filepath.Join(c.dir, "store"))} }
		return c
	}
	c.startAfresh(l, func() error { return l.run(l.bivouac(c.round(), "pull", l.debian())) })
	c.commands = func() []*exec.Cmd { return []*exec.Cmd{build(c.round())} }
	return c
}

// A buildah is buildah with the settings that work best here, as podman has them, and the store that it works on.
type buildah struct {
	podman
	context string
}

func (b *buildah) command(args ...string) *exec.Cmd {
	return b.lab.command("buildah", append(append([]string{"--root", b.root, "--runroot", b.runroot}, b.storage...), args...)...)
}

func (b *buildah) build() *exec.Cmd {
	args := append([]string{"build", "--layers", "--quiet", "--pull=false", "--tls-verify=false", "--network", "host", "--tag", "redis"}, b.runtime...)
	return b.command(append(args, b.context)...)
}

func (b *buildah) pull() *exec.Cmd {
	return b.command("pull", "--quiet", "--tls-verify=false", b.lab.debian())
}

// ready makes a store below dir, and finds storage and runtime with which a build works.
func (b *buildah) ready(dir string) error {
	var errs []error
	for i, storage := range storages {
		b.storage, b.driver = storage, strings.Join(storage, " ")
		if err := b.open(filepath.Join(dir, fmt.Sprint("store", i))); err != nil {
			return err
		}
		err := b.lab.run(b.pull())
		if err == nil {
			err = b.chooseRuntime(b.build)
		}
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (b *buildah) about() string { return strings.TrimPrefix(b.driver+"; ", "; ") + b.engine }

// buildBuildah caches layers, as it does not by itself.
func buildBuildah(l *lab, context func() (string, error), cached bool) *contender {
	c := &contender{name: nameBuildah, tools: []string{"buildah"}}
	b := &buildah{podman: podman{lab: l}}
	c.about = b.about
	c.prepare = func() (err error) {
		if b.context, err = context(); err != nil {
			return err
		}
		return b.ready(c.dir)
	}
	c.commands = func() []*exec.Cmd { return []*exec.Cmd{b.build()} }
	if !cached {
		c.startAfresh(l, func() error {
			if err := b.open(c.round()); err != nil {
				return err
			}
			return l.run(b.pull())
		})
	}
	return c
}
