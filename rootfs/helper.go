package rootfs

import (
	"errors"
	"io"

	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	"github.com/docker/docker-credential-helpers/client"
	"github.com/docker/docker-credential-helpers/credentials"
)

// ask returns what a file has for a registry, itself or by the credential helper that it names.
func (k keychain) ask(file *configfile.ConfigFile, host string) (types.AuthConfig, error) {
	helper := file.CredentialsStore
	if special, ok := file.CredentialHelpers[host]; ok {
		helper = special
	}
	if helper == "" || k.helper == nil {
		return file.GetAuthConfig(host)
	}
	found, err := client.Get(k.program("docker-credential-"+helper), host)
	if credentials.IsErrCredentialsNotFound(err) {
		return types.AuthConfig{}, nil
	}
	if err != nil {
		return types.AuthConfig{}, err
	}
	if found.Username == tokenUser {
		return types.AuthConfig{IdentityToken: found.Secret}, nil
	}
	return types.AuthConfig{Username: found.Username, Password: found.Secret}, nil
}

// tokenUser is how a helper says that its secret is an identity token (docker-credential-helpers, README).
const tokenUser = "<token>"

func (k keychain) program(name string) client.ProgramFunc {
	return func(args ...string) client.Program { return &helperProgram{k: k, name: name, args: args} }
}

// helperProgram is a helper that somebody else runs.
type helperProgram struct {
	k     keychain
	name  string
	args  []string
	input io.Reader
}

// Input sets what the helper reads.
func (p *helperProgram) Input(in io.Reader) { p.input = in }

// Output runs the helper.
func (p *helperProgram) Output() ([]byte, error) {
	if len(p.args) != 1 || p.input == nil {
		return nil, errors.New("bug: a credential helper takes one action and an input")
	}
	input, err := io.ReadAll(p.input)
	if err != nil {
		return nil, err
	}
	return p.k.helper(p.name, p.args[0], input)
}
