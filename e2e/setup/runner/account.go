package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// An account is a user to run as, with the directories and the environment that are its own.
type account struct {
	kind     string // mapped: has subordinate ids; single: has none
	name     string
	uid, gid int
	home     string
	binary   string
}

// accounts makes an account, with its directories, for each of the users that c names.
//
// Errors: a user is root or unknown, is not the caller although the caller is not root, or c.kind leaves nobody.
func accounts(c config) ([]account, error) {
	var all []account
	for _, field := range strings.Fields(c.users) {
		kind, name, _ := strings.Cut(field, "=")
		if c.kind != "" && c.kind != kind {
			continue
		}
		a, err := newAccount(kind, name)
		if err != nil {
			return nil, fmt.Errorf("use user %q: %w", name, err)
		}
		a.home, a.binary = filepath.Join(c.scratch, kind), c.binary
		if err := a.makeDirs(); err != nil {
			return nil, fmt.Errorf("make home of user %q: %w", name, err)
		}
		all = append(all, a)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no user of kind %q among %q", c.kind, c.users)
	}
	return all, nil
}

func newAccount(kind, name string) (account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return account{}, err
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	if uid == 0 {
		return account{}, errors.New("tests never run as root")
	}
	if caller := os.Geteuid(); caller != 0 && caller != uid {
		return account{}, fmt.Errorf("only root may run as somebody else: %w", fs.ErrPermission)
	}
	return account{kind: kind, name: name, uid: uid, gid: gid}, errors.Join(uidErr, gidErr)
}

// dirs are the directories of an account below its home, by the variables that name them.
var dirs = map[string]string{
	"HOME":            "home",
	"TMPDIR":          "tmp",
	"XDG_CACHE_HOME":  "cache",
	"XDG_CONFIG_HOME": "config",
	"XDG_DATA_HOME":   "data",
	"XDG_RUNTIME_DIR": "run",
	"XDG_STATE_HOME":  "state",
}

func (a account) makeDirs() error {
	if err := a.makeDir(a.home); err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := a.makeDir(filepath.Join(a.home, dir)); err != nil {
			return err
		}
	}
	return nil
}

// makeDir makes a directory that only the account's user may enter, as XDG_RUNTIME_DIR has to be.
func (a account) makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Chown(dir, a.uid, a.gid)
}

// inherited are the variables of the caller that tests and programs get too. The first are set by imager serve, the next by
// lib.sh.
var inherited = []string{
	"BIVOUAC_CORPUS", "BIVOUAC_E2E_REGISTRY", "BIVOUAC_E2E_REGISTRY_TLS", "BIVOUAC_E2E_CA",
	"BIVOUAC_CRIU", "BIVOUAC_E2E_NO_CRIU",
	"PATH", "TERM", "GOTRACEBACK",
}

func (a account) environ() []string {
	env := []string{
		"USER=" + a.name, "LOGNAME=" + a.name, "SHELL=/bin/bash", "LANG=C.UTF-8",
		"BIVOUAC_E2E_BINARY=" + a.binary, "BIVOUAC_E2E_USER_KIND=" + a.kind, "BIVOUAC_REQUIRE=1",
	}
	for variable, dir := range dirs {
		env = append(env, variable+"="+filepath.Join(a.home, dir))
	}
	for _, variable := range inherited {
		if value, ok := os.LookupEnv(variable); ok {
			env = append(env, variable+"="+value)
		}
	}
	return env
}

// command returns a command that runs as a and dies with the runner.
func (a account) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = a.environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return cmd
}
