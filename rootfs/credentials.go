package rootfs

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/docker/docker-credential-helpers/client"
	"github.com/docker/docker-credential-helpers/credentials"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs/aside"
)

// Kept is where credentials are.
type Kept struct {
	File     string // that has them, or names the helper
	Helper   string // the program that has them; empty if the file does, which then is not encrypted
	Shadowed string // a file with other credentials for the registry, which is read before; empty if there is none
}

// loginFile is where credentials are put: where Docker looks, unless $REGISTRY_AUTH_FILE has all look elsewhere.
func loginFile() string {
	if path := os.Getenv("REGISTRY_AUTH_FILE"); path != "" {
		return path
	}
	return filepath.Join(dockerDir(), "config.json")
}

// Credentials returns what was kept by Keep, or by Docker; no user if there is nothing, or a token instead of a password.
//
// Errors: BadConfig.
func (s Server) Credentials() (user, password string, _ error) {
	file, err := readAuthFile(loginFile())
	if errors.Is(err, fs.ErrNotExist) || file == nil && err == nil {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	if found, ok := file.AuthConfigs[s.key]; ok && found.Username != "" {
		return found.Username, found.Password, nil
	}
	found, err := (keychain{report: &reporter{}}).ask(file, s.key)
	if err != nil || found.Password == "" {
		return "", "", nil // they are asked for then
	}
	return found.Username, found.Password, nil
}

// Keep gives user and password to the credential helper that Docker's configuration names for the registry, or else writes
// them into that file, which keeps whatever else is in it.
//
// Errors: BadConfig.
func (s Server) Keep(user, password string) (Kept, error) {
	kept := Kept{File: loginFile()}
	err := editLogins(kept.File, func(l *logins) error {
		entry := map[string]any{}
		if kept.Helper = l.helper(s.key); kept.Helper != "" {
			program := client.NewShellProgramFunc(kept.Helper)
			if err := client.Store(program, &credentials.Credentials{ServerURL: s.key, Username: user, Secret: password}); err != nil {
				return helperFailed(kept, err)
			}
		} else {
			entry["auth"] = base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
		}
		l.auths[s.key] = mustMarshal(entry)
		return nil
	})
	if err != nil {
		return kept, err
	}
	kept.Shadowed = s.shadow(kept.File)
	return kept, nil
}

func helperFailed(kept Kept, err error) error {
	return fail(BadConfig, "mend it, or take it out of that file", "keep credentials by %s, as %s says: %w", kept.Helper, kept.File, err)
}

// shadow is the file that has credentials for the registry and is read before.
func (s Server) shadow(file string) string {
	for _, path := range authFiles() {
		if path == file {
			break
		}
		other, err := readAuthFile(path)
		if err == nil && other != nil && asAuthn(other.AuthConfigs[s.Host]) != nil {
			return path
		}
	}
	return ""
}

// Forget removes what Keep has kept, and what Docker has. It is false if there was nothing.
//
// Errors: BadConfig.
func (s Server) Forget() (bool, error) {
	kept := Kept{File: loginFile()}
	if _, err := os.Stat(kept.File); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	found := false
	err := editLogins(kept.File, func(l *logins) error {
		for _, key := range []string{s.key, s.Host, "https://" + s.Host, "http://" + s.Host, "https://" + s.Host + "/v1/"} {
			if _, ok := l.auths[key]; ok {
				delete(l.auths, key)
				found = true
			}
		}
		if kept.Helper = l.helper(s.key); kept.Helper == "" {
			return nil
		}
		program := client.NewShellProgramFunc(kept.Helper)
		if _, err := client.Get(program, s.key); credentials.IsErrCredentialsNotFound(err) {
			return nil
		}
		found = true
		if err := client.Erase(program, s.key); err != nil {
			return helperFailed(kept, err)
		}
		return nil
	})
	return found, err
}

// logins is Docker's configuration. What we do not know of it stays as it is.
type logins struct {
	fields map[string]json.RawMessage
	auths  map[string]json.RawMessage
}

// helper is the program that the configuration names for a registry, empty if there is none.
func (l *logins) helper(key string) string {
	var store string
	helpers := map[string]string{}
	_ = json.Unmarshal(l.fields["credsStore"], &store) // what is no text names no program
	_ = json.Unmarshal(l.fields["credHelpers"], &helpers)
	if special, ok := helpers[key]; ok {
		store = special
	}
	if store == "" {
		return ""
	}
	return "docker-credential-" + store
}

// editLogins changes the file while nobody else of ours does. Others see the old or the new one; it is for its owner alone.
func editLogins(path string, edit func(*logins) error) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if err := editLoginsIn(filepath.Dir(path), filepath.Base(path), edit); err != nil {
		if _, ok := codeOf(err); ok {
			return err
		}
		return fail(BadConfig, "mend or remove it", "keep credentials in %s: %w", path, err)
	}
	return nil
}

func editLoginsIn(dir, base string, edit func(*logins) error) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lock, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	path := filepath.Join(dir, base)
	l, before, err := readLogins(path)
	if err != nil {
		return err
	}
	if err := edit(l); err != nil {
		return err
	}
	l.fields["auths"] = mustMarshal(l.auths)
	after, err := json.MarshalIndent(l.fields, "", "\t")
	if err != nil || bytes.Equal(before, after) {
		return err
	}
	return replaceFile(path, after)
}

func readLogins(path string) (*logins, []byte, error) {
	l := &logins{map[string]json.RawMessage{}, map[string]json.RawMessage{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(bytes.TrimSpace(text)) == 0 {
		return l, nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &l.fields)
	}
	if err == nil && l.fields["auths"] != nil {
		err = json.Unmarshal(l.fields["auths"], &l.auths)
	}
	if l.fields == nil || l.auths == nil { // JSON's null
		err = errors.Join(err, fmt.Errorf("%s is no object", path))
	}
	return l, text, err
}

// replaceFile writes a file that its owner alone can read.
func replaceFile(path string, content []byte) error {
	f, err := aside.Create(path)
	if err != nil {
		return err
	}
	defer f.Discard()
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Keep()
}
