package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/bivouac-run/bivouac/rootfs"
)

// loginFlags are those of the verb login.
type loginFlags struct {
	options        rootfs.LoginOptions
	user, password string
	stdin          bool
}

func newLoginCommand() *cobra.Command {
	f := &loginFlags{}
	cmd := &cobra.Command{
		Use:   "login [flags] [SERVER]",
		Short: "Log in to a registry",
		Long: `Log in to a registry, by default Docker Hub: ask it whether user and password are right, and keep them for later pulls and
pushes, of Docker and others too. They are kept in Docker's config.json below ~/.docker or $DOCKER_CONFIG, not encrypted, or
by the credential helper that this file names for the registry; with $REGISTRY_AUTH_FILE set, in the file that it names.

What is not given is asked for. With neither user nor password, those that are kept are tried first.`,
		Example: `  bivouac login registry.example.com:5000
  bivouac login -u tester --password-stdin registry.example.com:5000 <password.txt`,
		Args: cobra.MaximumNArgs(1),
		RunE: f.run,
	}
	cmd.Flags().StringVarP(&f.user, "username", "u", "", "log in as `NAME`")
	cmd.Flags().StringVarP(&f.password, "password", "p", "", "log in with `PASSWORD`, which others can see in the list of processes")
	cmd.Flags().BoolVar(&f.stdin, "password-stdin", false, "read the password from standard input")
	cmd.Flags().BoolVar(&f.options.PlainHTTP, "plain-http", false, "allow a registry without TLS that is not on this machine")
	cmd.Flags().StringVar(&f.options.CAFile, "tls-ca", "", "trust the certificate authorities of the PEM `FILE` too")
	return cmd
}

func (f *loginFlags) run(cmd *cobra.Command, args []string) error {
	server, err := rootfs.ParseServer(strings.Join(args, ""))
	if err != nil {
		return err
	}
	if err := f.check(cmd.Flags().Changed("password")); err != nil {
		return err
	}
	ctx, free := interruptible(cmd.Context(), "nothing was kept")
	defer free()
	f.options.Progress = func(e rootfs.Event) { fmt.Fprintln(os.Stderr, remark(progressOf(e))) }
	return causeOf(ctx, f.login(ctx, cmd.OutOrStdout(), server))
}

func (f *loginFlags) check(givenPassword bool) error {
	switch {
	case f.stdin && givenPassword:
		return usageErrorf("log in: --password and --password-stdin exclude each other; give one")
	case f.stdin && f.user == "":
		return usageErrorf("log in: --password-stdin needs a user; add --username")
	case givenPassword:
		_, _ = fmt.Fprintln(os.Stderr, "Warning: other users see --password in the list of processes; --password-stdin hides it.")
	}
	return nil
}

func (f *loginFlags) login(ctx context.Context, out io.Writer, server rootfs.Server) error {
	if f.user == "" && f.password == "" {
		if done, err := f.tryKept(ctx, out, server); done || err != nil {
			return err
		}
	}
	if err := f.ask(ctx); err != nil {
		return err
	}
	if err := server.Verify(ctx, f.user, f.password, f.options); err != nil {
		return err
	}
	kept, err := server.Keep(f.user, f.password)
	if err != nil {
		return err
	}
	warnKept(server, kept)
	_, err = fmt.Fprintln(out, "Login Succeeded")
	return err
}

// tryKept is done if what is kept is right.
func (f *loginFlags) tryKept(ctx context.Context, out io.Writer, server rootfs.Server) (bool, error) {
	user, password, err := server.Credentials()
	if err != nil || user == "" {
		return false, err
	}
	_, _ = fmt.Fprintf(os.Stderr, "Trying what is kept for %s [Username: %s]\n", printable(server.Host), printable(user))
	err = server.Verify(ctx, user, password, f.options)
	if errors.Is(err, rootfs.Unauthorized) && canAsk() {
		_, _ = fmt.Fprintln(os.Stderr, complaint(err))
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = fmt.Fprintln(out, "Login Succeeded")
	return true, err
}

func warnKept(server rootfs.Server, kept rootfs.Kept) {
	if kept.Helper == "" {
		_, _ = fmt.Fprintf(os.Stderr, "Warning: the password is kept in %s and is not encrypted; a credential helper would do that, see https://docs.docker.com/go/credential-store/\n", printable(kept.File))
	}
	if kept.Shadowed != "" {
		_, _ = fmt.Fprintf(os.Stderr, "Warning: %s has other credentials for %s, and is read first; take them out of it\n", printable(kept.Shadowed), printable(server.Host))
	}
}

func canAsk() bool { return term.IsTerminal(int(os.Stdin.Fd())) }

// ask fills in what is missing.
func (f *loginFlags) ask(ctx context.Context) (err error) {
	if f.stdin {
		text, err := io.ReadAll(io.LimitReader(os.Stdin, 1<<20))
		f.password = strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
		if err == nil && f.password == "" {
			err = usageErrorf("log in: standard input has no password; write one to it")
		}
		return err
	}
	if (f.user == "" || f.password == "") && !canAsk() {
		return usageErrorf("log in: there is no terminal to ask on; give --username and --password-stdin")
	}
	if f.user == "" {
		if f.user, err = answer(ctx, "Username: ", readLine); err != nil {
			return err
		}
	}
	if f.password == "" {
		if f.password, err = answer(ctx, "Password: ", readPassword); err != nil {
			return err
		}
	}
	if f.user == "" || f.password == "" {
		return usageErrorf("log in: user or password is empty; give both")
	}
	return nil
}

// answer asks on the terminal, whose echo is as before also if ctx ends first.
func answer(ctx context.Context, question string, read func() (string, error)) (string, error) {
	before, err := term.GetState(int(os.Stdin.Fd()))
	if err != nil {
		return "", err
	}
	_, _ = io.WriteString(os.Stderr, question)
	type line struct {
		text string
		err  error
	}
	got := make(chan line, 1)
	go func() {
		text, err := read()
		got <- line{text, err}
	}()
	select {
	case l := <-got:
		return strings.TrimSpace(l.text), l.err
	case <-ctx.Done():
		_, _ = io.WriteString(os.Stderr, "\n")
		return "", errors.Join(term.Restore(int(os.Stdin.Fd()), before), ctx.Err())
	}
}

func readLine() (string, error) {
	text, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = usageErrorf("log in: the terminal was closed; give --username and --password-stdin")
	}
	return text, err
}

func readPassword() (string, error) {
	text, err := term.ReadPassword(int(os.Stdin.Fd()))
	_, _ = io.WriteString(os.Stderr, "\n")
	if errors.Is(err, io.EOF) {
		err = usageErrorf("log in: the terminal was closed; give --username and --password-stdin")
	}
	return string(text), err
}
