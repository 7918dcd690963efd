package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
)

// parseFields reads NAME=VALUE,NAME=VALUE, in which a field may be quoted (RFC 4180), as Docker does.
func parseFields(flag, text string, known ...string) (map[string]string, error) {
	list, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, usageErrorf("%s %q: cannot be read: %v; quote a field that has a comma or a quote", flag, text, err)
	}
	fields := map[string]string{}
	for _, field := range list {
		name, value, given := strings.Cut(field, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if !given {
			return nil, usageErrorf("%s %q: %q has no value; use NAME=VALUE", flag, text, field)
		}
		if !slices.Contains(known, name) {
			return nil, usageErrorf("%s %q: %q is not known; use %s", flag, text, name, strings.Join(known, ", "))
		}
		fields[name] = value
	}
	return fields, nil
}

// setNames finds bad names before anything is built.
func (f *buildFlags) setNames(*sandbox.BuildSpec) error {
	for _, tag := range f.tags {
		ref, err := rootfs.ParseReference(tag)
		if err != nil {
			return err
		}
		if ref.Transport != rootfs.Registry || ref.Digest != "" {
			return usageErrorf("--tag %s: is no name for an image; use NAME[:TAG]", printable(tag))
		}
	}
	return nil
}

// maxSecret is BuildKit's limit (session/secrets).
const maxSecret = 500 << 10

func (f *buildFlags) setSecrets(s *sandbox.BuildSpec) error {
	for _, text := range f.secrets {
		secret, err := parseSecret(text)
		if err != nil {
			return err
		}
		s.Secrets = append(s.Secrets, secret)
	}
	return nil
}

// parseSecret reads id=ID, src=FILE or env=VARIABLE, and type=file|env. Where nothing says from where it comes it is the
// variable of the name ID, or the file.
func parseSecret(text string) (sandbox.BuildSecret, error) {
	none := sandbox.BuildSecret{}
	fields, err := parseFields("--secret", text, "id", "src", "source", "env", "type")
	if err != nil {
		return none, err
	}
	file := firstNonEmpty(fields["src"], fields["source"])
	id := firstNonEmpty(fields["id"], filepath.Base(file))
	if id == "" {
		return none, usageErrorf("--secret %q: needs id=ID", text)
	}
	variable := fields["env"]
	switch kind := fields["type"]; {
	case kind != "" && kind != "file" && kind != "env":
		return none, usageErrorf("--secret %q: type %q is not known; use file or env", text, kind)
	case variable != "":
	case kind == "env", kind == "" && file == "" && isSet(id):
		variable = firstNonEmpty(file, id)
	default:
		file = firstNonEmpty(file, id)
	}
	return takeSecret(id, file, variable)
}

func isSet(variable string) bool {
	_, ok := os.LookupEnv(variable)
	return ok
}

// takeSecret takes the value of a variable, or without one that of a file.
func takeSecret(id, file, variable string) (secret sandbox.BuildSecret, err error) {
	value := []byte(os.Getenv(variable))
	switch {
	case variable == "":
		if value, err = readSecretFile(id, file); err != nil {
			return secret, err
		}
	case !isSet(variable):
		return secret, usageErrorf("--secret id=%s: the variable %s is not set; set it, or name a file with src", id, variable)
	}
	return checkSecret(id, value)
}

func readSecretFile(id, path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, usageErrorf("--secret id=%s: %v; name its file with src, or a variable with env", id, err)
	}
	if !info.Mode().IsRegular() {
		return nil, usageErrorf("--secret id=%s: %s is no regular file; name one with src", id, path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the secret %s: %w", id, err)
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxSecret+1))
}

func checkSecret(id string, value []byte) (sandbox.BuildSecret, error) {
	if len(value) > maxSecret {
		return sandbox.BuildSecret{}, usageErrorf("--secret id=%s: is larger than %d KB; use a bind mount for files", id, maxSecret>>10)
	}
	return sandbox.BuildSecret{ID: id, Value: value}, nil
}

func firstNonEmpty(values ...string) string {
	for _, v := range values {
		if v != "" && v != "." {
			return v
		}
	}
	return ""
}

func (f *buildFlags) setSSH(s *sandbox.BuildSpec) error {
	for _, text := range f.ssh {
		id, path, _ := strings.Cut(text, "=")
		if id == "" {
			return usageErrorf("--ssh %q: needs default or ID=SOCKET", text)
		}
		if path == "" {
			if path = os.Getenv("SSH_AUTH_SOCK"); path == "" {
				return usageErrorf("--ssh %s: there is no agent, as $SSH_AUTH_SOCK is not set; start ssh-agent, or give %s=SOCKET", id, id)
			}
		}
		socket, err := agentSocket(id, path)
		if err != nil {
			return err
		}
		s.SSH = append(s.SSH, sandbox.BuildSSH{ID: id, Socket: socket})
	}
	return nil
}

func agentSocket(id, path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", usageErrorf("--ssh %s: %v; give the socket of an agent", id, err)
	case info.Mode().IsRegular():
		return "", usageErrorf("--ssh %s=%s: keys are not read; add it to an agent with ssh-add, and give --ssh %s", id, path, id)
	case info.Mode()&os.ModeSocket == 0:
		return "", usageErrorf("--ssh %s=%s: is no socket; give that of an agent", id, path)
	}
	return filepath.Abs(path)
}

func (f *buildFlags) setContexts(s *sandbox.BuildSpec) error {
	for _, text := range f.contexts {
		name, value, _ := strings.Cut(text, "=")
		if name == "" || value == "" {
			return usageErrorf("--build-context %q: needs NAME=DIRECTORY or NAME=docker-image://IMAGE", text)
		}
		if !strings.Contains(value, "://") {
			path, err := filepath.Abs(value)
			if err != nil {
				return err
			}
			if info, err := os.Stat(path); err != nil || !info.IsDir() {
				return usageErrorf("--build-context %s: is no directory; give one, or docker-image://IMAGE", text)
			}
			value = path
		} else if !strings.HasPrefix(value, "docker-image://") {
			return usageErrorf("--build-context %s: is not fetched; give a directory, or docker-image://IMAGE", text)
		}
		if s.Contexts == nil {
			s.Contexts = map[string]string{}
		}
		s.Contexts[name] = value
	}
	return nil
}

func (f *buildFlags) setCaches(s *sandbox.BuildSpec) error {
	for _, kind := range []struct {
		flag  string
		texts []string
		to    *[]string
	}{{"--cache-from", f.cacheFrom, &s.CacheFrom}, {"--cache-to", f.cacheTo, &s.CacheTo}} {
		for _, text := range kind.texts {
			ref, err := parseCache(kind.flag, text)
			if err != nil {
				return err
			}
			*kind.to = append(*kind.to, ref)
		}
	}
	return nil
}

func parseCache(flag, text string) (string, error) {
	ref := text
	if strings.Contains(text, "=") {
		if !strings.Contains(","+text+",", ",type=registry,") {
			return "", usageErrorf("%s %q: steps are kept in registries alone; use type=registry,ref=IMAGE", flag, text)
		}
		fields, err := parseFields(flag, text, "type", "ref", "mode")
		if err != nil {
			return "", err
		}
		if mode := fields["mode"]; mode != "" && mode != "max" || mode != "" && flag == "--cache-from" {
			return "", usageErrorf("%s mode=%s: all steps are pushed; leave it out", flag, mode)
		}
		if ref = fields["ref"]; ref == "" {
			return "", usageErrorf("%s %q: needs ref=IMAGE", flag, text)
		}
	}
	parsed, err := rootfs.ParseReference(ref)
	if err == nil && parsed.Transport != rootfs.Registry {
		err = usageErrorf("%s %s: is no name in a registry; use HOST/NAME[:TAG]", flag, printable(ref))
	}
	return ref, err
}

// setHosts reads NAME:IP and NAME=IP, with brackets around an IPv6 address or without.
func (f *buildFlags) setHosts(s *sandbox.BuildSpec) error {
	for _, text := range f.addHosts {
		name, address, given := strings.Cut(text, "=")
		if !given {
			name, address, given = strings.Cut(text, ":")
		}
		ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(address, "["), "]"))
		if !given || name == "" || err != nil || strings.ContainsAny(name, " \t\r\n#") {
			return usageErrorf("--add-host %q: needs NAME:IP", text)
		}
		s.AddHosts = append(s.AddHosts, name+":"+ip.String())
	}
	return nil
}
