// Runner runs tests and programs as the ordinary users of the tests, never as root: each with a home of its own below a
// scratch directory and nothing of the caller's environment. It counts what the tests did, and fails on every skip
// that e2e/skips.txt does not list and on every process that a suite leaves behind.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"time"
)

const usage = `usage: runner test -src DIR -scratch DIR -users KIND=USER... [flags] PACKAGE...
       runner exec -scratch DIR -users KIND=USER [-binary FILE] COMMAND [ARG...]`

// errFailed ends the runner after it has reported why.
var errFailed = errors.New("tests failed")

// config is what the flags say.
type config struct {
	src, scratch, binary, users, kind string
	run, focus                        string
	timeout                           time.Duration
}

// The kernel kills a child when the thread that started it ends, so all are started on the main thread.
func init() { runtime.LockOSThread() }

func main() {
	err := run(os.Args[1:])
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		os.Exit(exit.ExitCode())
	case errors.Is(err, errFailed):
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "runner:", err)
		os.Exit(2)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	var c config
	flags := flag.NewFlagSet(args[0], flag.ExitOnError)
	c.register(flags)
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	accounts, err := accounts(c)
	if err != nil {
		return err
	}
	switch {
	case args[0] == "test" && flags.NArg() > 0:
		return testAll(c, accounts, flags.Args())
	case args[0] == "exec" && flags.NArg() > 0:
		return execute(accounts[0], flags.Args())
	}
	return errors.New(usage)
}

func (c *config) register(flags *flag.FlagSet) {
	flags.StringVar(&c.src, "src", "", "`directory` of the source tree")
	flags.StringVar(&c.scratch, "scratch", "", "`directory` for everything that is written")
	flags.StringVar(&c.binary, "binary", "", "`file` of the bivouac under test")
	flags.StringVar(&c.users, "users", "", "`KIND=USER...` to run as, separated by spaces")
	flags.StringVar(&c.kind, "kind", "", "only users of this `kind`, mapped or single")
	flags.StringVar(&c.run, "run", "", "only Go tests that match this `regexp`")
	flags.StringVar(&c.focus, "focus", "", "only Ginkgo specs that match this `regexp`")
	flags.DurationVar(&c.timeout, "timeout", 45*time.Minute, "the longest that a package may take as one user")
}

// execute runs a command as a, with the caller's standard streams and working directory.
func execute(a account, args []string) error {
	cmd := a.command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}
