package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// keychain finds credentials where Docker and Podman keep them. The first file that has some for the registry wins.
type keychain struct {
	report *reporter
	helper func(program, action string, input []byte) ([]byte, error) // nil: run here
}

// Resolve is the interface of go-containerregistry. Without credentials the registry is asked without; also where a
// credential helper does not work, as most images need none, but then it is said.
//
// Errors: BadConfig.
func (k keychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	for _, path := range authFiles() {
		file, err := readAuthFile(path)
		if err != nil {
			return nil, err
		}
		if file == nil {
			continue
		}
		if found := k.lookUp(path, file, target); found != nil {
			return authn.FromConfig(*found), nil
		}
	}
	return authn.Anonymous, nil
}

// authFiles lists the files as containers-auth.json(5) does, Docker's before the last.
func authFiles() []string {
	if path := os.Getenv("REGISTRY_AUTH_FILE"); path != "" {
		return []string{path}
	}
	var paths []string
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		paths = append(paths, filepath.Join(dir, "containers/auth.json"))
	}
	paths = append(paths, userConfig("containers/auth.json")...)
	return append(paths, filepath.Join(dockerDir(), "config.json"))
}

// dockerDir does without config.Dir(), which looks at the environment only once.
func dockerDir() string {
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "/nonexistent"
	}
	return filepath.Join(home, ".docker")
}

func readAuthFile(path string) (*configfile.ConfigFile, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && os.Getenv("REGISTRY_AUTH_FILE") == "" {
		return nil, nil
	}
	if err != nil {
		return nil, fail(BadConfig, "mend or remove it", "read credentials: %w", err)
	}
	defer file.Close()
	read, err := config.LoadFromReader(file)
	if err != nil {
		return nil, fail(BadConfig, "mend or remove it", "read credentials in %s: %w", path, err)
	}
	read.Filename = path
	return read, nil
}

func (k keychain) lookUp(path string, file *configfile.ConfigFile, target authn.Resource) *authn.AuthConfig {
	for _, key := range pathKeys(target) {
		if found := asAuthn(file.AuthConfigs[key]); found != nil { // beside a helper, Docker has empty entries
			return found
		}
	}
	found, err := k.ask(file, hostKey(target))
	if err != nil {
		k.report.note("no credentials for " + target.RegistryStr() + ": the helper named in " + path + " failed: " + err.Error())
		return nil
	}
	return asAuthn(found)
}

// asAuthn is nil for an entry that says nothing.
func asAuthn(found types.AuthConfig) *authn.AuthConfig {
	found.ServerAddress = ""
	if found == (types.AuthConfig{}) {
		return nil
	}
	return &authn.AuthConfig{Username: found.Username, Password: found.Password, Auth: found.Auth,
		IdentityToken: found.IdentityToken, RegistryToken: found.RegistryToken}
}

// pathKeys lists Podman's keys for a repository, the most specific first: its own path and those above it.
func pathKeys(target authn.Resource) []string {
	path := strings.Replace(target.String(), name.DefaultRegistry, defaultDomain, 1)
	keys := []string{path}
	for strings.Contains(path, "/") {
		path = path[:strings.LastIndex(path, "/")]
		keys = append(keys, path)
	}
	return keys
}

// hostKey is Docker's key for a registry, an odd one for its own.
func hostKey(target authn.Resource) string {
	if target.RegistryStr() == name.DefaultRegistry {
		return authn.DefaultAuthKey
	}
	return target.RegistryStr()
}
