// Package match looks at the containers of package testkit with Gomega.
//
//	redis := testkit.Start(GinkgoT(), "redis:7", testkit.Ready(testkit.Port(6379)))
//	Expect(redis).To(match.BeListeningOn(6379))
//	Expect(redis.Stop(ctx)).To(Succeed())
//	Expect(redis).To(match.HaveLogged("User requested shutdown"))
//	Expect(redis).To(gexec.Exit(0))
//
// The matchers work with Expect and with Eventually and Consistently, for *testing.T and for Ginkgo. Eventually gives up at
// once when the container's program has ended and nothing can change any more. Their messages say what the container was
// seen to do. [Output], [Stdout] and [Stderr] give what a container prints to gbytes.Say; gexec.Exit takes a container as it
// is.
//
// # Ginkgo
//
// GinkgoT() is a test like any other to testkit: containers are discarded after the node that started them, so after each
// spec, or after the suite if BeforeSuite started them. A spec that fails has the evidence of its own containers in its
// report. For those that many specs share, see [ReportEvidence]. The processes of ginkgo -p have nothing in common: each
// has its own containers, with its own ports.
package match

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"time"
	"unicode"

	"github.com/onsi/gomega/format"

	"github.com/bivouac-run/bivouac/sandbox"
)

// Container is what the matchers look at: a *testkit.Container, or anything that embeds one, such as a module's server.
type Container interface {
	fmt.Stringer
	Context() context.Context
	Diff(ctx context.Context) ([]sandbox.Change, error)
	Evidence(ctx context.Context) string
	ExitCode() int
	FS() fs.FS
	Listening(ctx context.Context) ([]sandbox.Listener, error)
	Logs() string
}

// timeout bounds one look at a container.
const timeout = 10 * time.Second

// look is what all matchers have in common.
type look struct{ name string }

// container returns what a matcher was given, if it is a container.
func (l look) container(actual any) (Container, error) {
	if c, ok := actual.(Container); ok {
		return c, nil
	}
	return nil, fmt.Errorf("%s must be passed a *testkit.Container, or what embeds one. Got:\n%s", l.name, format.Object(actual, 1))
}

// MatchMayChangeInTheFuture tells Eventually that what a container does is settled when its program has ended.
func (l look) MatchMayChangeInTheFuture(actual any) bool {
	c, ok := actual.(Container)
	return !ok || c.Context().Err() == nil
}

// message makes a failure's text: what was expected, what was seen instead, and the end of the log.
func message(actual any, expected, seen string) string {
	c, ok := actual.(Container)
	if !ok {
		return "Expected a container " + expected
	}
	text := fmt.Sprintf("Expected %s %s.", c, expected)
	if seen != "" {
		text += "\n" + seen
	}
	return printable(text + "\n" + stateOf(c) + "\n" + logOf(c))
}

func stateOf(c Container) string {
	switch code := c.ExitCode(); {
	case code >= 0:
		return fmt.Sprintf("Its program has exited with code %d.", code)
	case c.Context().Err() != nil:
		return fmt.Sprintf("Its program does not run: %v.", context.Cause(c.Context()))
	default:
		return "Its program runs."
	}
}

// logLines is how much of the log a message shows.
const logLines = 20

func logOf(c Container) string {
	log := strings.TrimRight(c.Logs(), "\n")
	if log == "" {
		return "It has printed nothing."
	}
	lines := strings.Split(log, "\n")
	shown := lines[max(0, len(lines)-logLines):]
	return fmt.Sprintf("The last %d of its %d log lines:\n%s", len(shown), len(lines), format.IndentString(strings.Join(shown, "\n"), 1))
}

// printable keeps control characters of programs from the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
