package rootfs

import (
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Transport says where an image comes from, spelled as in containers-transports(5).
type Transport string

// The transports. Rootfs and Host are ours.
const (
	Registry      Transport = "docker"         // NAME[:TAG][@DIGEST], also docker://NAME
	OCI           Transport = "oci"            // oci:DIR[:TAG]
	OCIArchive    Transport = "oci-archive"    // oci-archive:FILE[:TAG]
	DockerArchive Transport = "docker-archive" // docker-archive:FILE[:NAME[:TAG]]
	Rootfs        Transport = "rootfs"         // rootfs:DIR, a directory that is a root file system
	Host          Transport = "host"           // host:, the machine's own root
	Stored        Transport = "sha256"         // [sha256:]ID, an image of the store by its whole id
)

// Reference names an image. It is a plain value; two references are equal if they name the same by the same means.
type Reference struct {
	Transport Transport

	Domain     string        // registry's host and port; of Registry alone, as the next two
	Repository string        // "library/alpine"
	Digest     digest.Digest // empty if the name had none; of Stored the id
	Short      bool          // written without a registry, which Domain then is the default of

	Path string // directory or file of the other transports, cleaned
	Tag  string // of Registry: empty only beside a digest; of a layout or archive: the name in it, may be empty
}

// ParseReference reads s in one of the forms above. "host:" and the like win over images of the same name: those are
// written docker://host:TAG. Short names get Docker's defaults: docker.io, library/ and latest.
//
// Errors: BadReference.
func ParseReference(s string) (Reference, error) {
	if hex := strings.TrimPrefix(s, "sha256:"); len(hex) == 64 && isHex(hex) {
		return Reference{Transport: Stored, Digest: digest.NewDigestFromEncoded(digest.SHA256, hex)}, nil
	}
	transport, rest, _ := strings.Cut(s, ":")
	switch t := Transport(transport); t {
	case OCI, OCIArchive, DockerArchive:
		path, tag, _ := strings.Cut(rest, ":")
		return parsePath(s, Reference{Transport: t, Path: path, Tag: tag})
	case Rootfs:
		return parsePath(s, Reference{Transport: t, Path: rest})
	case Host:
		return parseHost(s, rest)
	case "docker-daemon", "containers-storage":
		return Reference{}, badReference(s, "the transport %s is not supported", transport)
	}
	return parseName(s)
}

func parsePath(s string, r Reference) (Reference, error) {
	if r.Path == "" || strings.ContainsRune(s, 0) {
		return Reference{}, badReference(s, "needs a path after %s:", r.Transport)
	}
	r.Path = filepath.Clean(r.Path)
	return r, nil
}

func parseHost(s, rest string) (Reference, error) {
	if rest != "" || s != "host:" {
		return Reference{}, badReference(s, "host: takes nothing after it")
	}
	return Reference{Transport: Host}, nil
}

func parseName(s string) (Reference, error) {
	r, err := splitName(strings.TrimPrefix(s, "docker://"))
	if err != nil {
		return Reference{}, badReference(s, "%w", err)
	}
	return r, nil
}

func badReference(s, format string, args ...any) error {
	err := fail(BadReference, "", format, args...).Err
	return fail(BadReference, "write NAME[:TAG][@DIGEST], oci:DIR[:TAG], oci-archive:FILE[:TAG], "+
		"docker-archive:FILE[:NAME], rootfs:DIR or host:", "read image reference %q: %w", s, err)
}

// String is what ParseReference reads back to the same value.
func (r Reference) String() string {
	switch r.Transport {
	case Registry:
		return r.familiar()
	case Rootfs, Host:
		return string(r.Transport) + ":" + r.Path
	case Stored:
		return r.Digest.String()
	}
	if r.Tag == "" {
		return string(r.Transport) + ":" + r.Path
	}
	return string(r.Transport) + ":" + r.Path + ":" + r.Tag
}

// familiar is the short form of a short name. One that looks like another transport keeps its own.
func (r Reference) familiar() string {
	if !r.Short {
		return r.Name()
	}
	name := r.familiarName()
	switch Transport(name) {
	case OCI, OCIArchive, DockerArchive, Rootfs, Host, "docker-daemon", "containers-storage":
		name = "docker://" + name
	}
	return r.suffixed(name)
}

// familiarName is the repository as Docker shows it.
func (r Reference) familiarName() string {
	if r.Domain != defaultDomain {
		return r.Domain + "/" + r.Repository
	}
	if name := strings.TrimPrefix(r.Repository, officialPath); !strings.Contains(name, "/") {
		return name
	}
	return r.Repository
}

// Name is the full name of an image in a registry, as "docker.io/library/alpine:latest"; String for the others.
func (r Reference) Name() string {
	if r.Transport != Registry {
		return r.String()
	}
	return r.suffixed(r.Domain + "/" + r.Repository)
}

func (r Reference) suffixed(name string) string {
	if r.Tag != "" {
		name += ":" + r.Tag
	}
	if r.Digest != "" {
		name += "@" + r.Digest.String()
	}
	return name
}

// mayBeID is true for a name that may be meant as the beginning of an id.
func (r Reference) mayBeID() bool {
	name := r.familiarName()
	return r.Short && r.Digest == "" && r.Tag == defaultTag && len(name) >= minID && isHex(name)
}

// stored is the name under which the store keeps an image: beside a digest the tag says nothing.
func (r Reference) stored() string {
	if r.Digest != "" {
		r.Tag = ""
	}
	return r.Name()
}

// WithDir returns r with its path, if it has one, made absolute from the directory dir.
func (r Reference) WithDir(dir string) Reference {
	if r.Path != "" && !filepath.IsAbs(r.Path) {
		r.Path = filepath.Join(dir, r.Path)
	}
	return r
}

// Familiar is the name as people write it, without Docker's defaults but with the tag; String for other transports.
func (r Reference) Familiar() string {
	if r.Transport != Registry {
		return r.String()
	}
	return r.suffixed(r.familiarName())
}
