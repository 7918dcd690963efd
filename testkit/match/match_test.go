package match_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/onsi/gomega"
	"github.com/onsi/gomega/types"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/testkit"
	"github.com/bivouac-run/bivouac/testkit/match"
)

var _ match.Container = (*testkit.Container)(nil)

// fake is a container that is as a test wants it.
type fake struct {
	logs     string
	code     int
	files    fstest.MapFS
	changes  []sandbox.Change
	listens  []sandbox.Listener
	err      error
	evidence string
}

func (f *fake) Context() context.Context {
	if f.code < 0 {
		return context.Background()
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func (f *fake) Diff(context.Context) ([]sandbox.Change, error)        { return f.changes, f.err }
func (f *fake) Evidence(context.Context) string                       { return f.evidence }
func (f *fake) ExitCode() int                                         { return f.code }
func (f *fake) FS() fs.FS                                             { return f.files }
func (f *fake) Listening(context.Context) ([]sandbox.Listener, error) { return f.listens, f.err }
func (f *fake) Logs() string                                          { return f.logs }
func (f *fake) String() string                                        { return "image:1 (abc)" }

func running() *fake {
	return &fake{
		code: -1, logs: "first\nready to serve\x1b[31m\n", evidence: "evidence\x07",
		files: fstest.MapFS{"etc/app.conf": {Data: []byte("port = 80\n")}, "etc/fifo": {Mode: fs.ModeNamedPipe}},
		changes: []sandbox.Change{
			{Path: "/data", Kind: sandbox.ChangeModified}, {Path: "/data/a/b", Kind: sandbox.ChangeAdded},
			{Path: "/data/a", Kind: sandbox.ChangeModified}, {Path: "/tmp/app-1.pid", Kind: sandbox.ChangeAdded},
			{Path: "/tmp", Kind: sandbox.ChangeModified}, {Path: "/var/gone", Kind: sandbox.ChangeDeleted},
		},
		listens: []sandbox.Listener{{Protocol: "tcp", IP: "::", Port: 80}, {Protocol: "udp", IP: "0.0.0.0", Port: 53}, {Protocol: "unix", Path: "/run/x"}},
	}
}

func ended() *fake {
	f := running()
	f.code, f.err = 3, sandbox.Errorf(sandbox.CodeAlreadyFinished, "it has ended")
	return f
}

func TestMatchers(t *testing.T) {
	for name, c := range map[string]struct {
		matcher types.GomegaMatcher
		actual  *fake
		want    bool
		message []string // of the failure, in the end
	}{
		"text":                   {match.HaveLogged("ready to"), running(), true, []string{`not to have logged "ready to"`, "Its program runs."}},
		"no text":                {match.HaveLogged("READY"), running(), false, []string{`image:1 (abc) to have logged "READY"`, "The last 2 of its 2 log lines:\n    first\n    ready"}},
		"pattern":                {match.HaveLogged(regexp.MustCompile(`(?m)^ready`)), running(), true, []string{"what matches"}},
		"no pattern":             {match.HaveLogged(regexp.MustCompile(`^ready`)), ended(), false, []string{`what matches "^ready"`, "exited with code 3"}},
		"log matcher":            {match.HaveLogged(gomega.HavePrefix("first")), running(), true, []string{"not to have prefix"}},
		"no log matcher":         {match.HaveLogged(gomega.HavePrefix("last")), running(), false, []string{"to have prefix", "last"}},
		"empty log":              {match.HaveLogged("x"), &fake{code: 0}, false, []string{"It has printed nothing."}},
		"control characters":     {match.HaveLogged("x"), running(), false, []string{"ready to serve\uFFFD[31m"}},
		"listening":              {match.BeListeningOn(80), running(), true, []string{"not to be listening on port 80/tcp"}},
		"not listening":          {match.BeListeningOn(53), running(), false, []string{"port 53/tcp.", "It listens on :::80/tcp, 0.0.0.0:53/udp."}},
		"udp":                    {match.BeListeningOnUDP(53), running(), true, []string{"53/udp"}},
		"not listening any more": {match.BeListeningOn(80), ended(), false, []string{"It listens on nothing.", "exited with code 3"}},
		"file":                   {match.HaveFile("/etc/app.conf"), running(), true, []string{"not to have the file /etc/app.conf"}},
		"root":                   {match.HaveFile("/"), running(), true, []string{"not to have the file /"}},
		"no file":                {match.HaveFile("/etc/other"), running(), false, []string{"There is no such file."}},
		"content":                {match.HaveFile("/etc/app.conf", "port = 80\n"), running(), true, []string{"not to equal"}},
		"content matcher":        {match.HaveFile("/etc/app.conf", gomega.HavePrefix("port"), gomega.HaveLen(10)), running(), true, []string{"not to have prefix"}},
		"other content":          {match.HaveFile("/etc/app.conf", gomega.HavePrefix("port"), gomega.HaveLen(11)), running(), false, []string{"with other content", "to have length 11"}},
		"changes":                {match.HaveChangedOnly("/data", "/tmp/app-*.pid", "/var/*"), running(), true, []string{"to have changed more than /data, /tmp/app-*.pid", "It has changed 6 files", "D /var/gone"}},
		"more changes":           {match.HaveChangedOnly("/data"), running(), false, []string{"to have changed only /data.", "as well:\n    A /tmp/app-1.pid\n    C /tmp\n    D /var/gone\n"}},
		"deep changes":           {match.HaveChangedOnly("/data/a/b", "/tmp/*", "/var/gone"), running(), true, []string{"more than"}},
		"no changes":             {match.HaveChangedOnly(), &fake{code: 0}, true, []string{"more than nothing"}},
		"exited":                 {match.HaveExited(), ended(), true, []string{"not to have exited."}},
		"exited with":            {match.HaveExited(0, 3), ended(), true, []string{"not to have exited with code 0 or 3."}},
		"exited otherwise":       {match.HaveExited(0), ended(), false, []string{"to have exited with code 0.", "Its program has exited with code 3.", "ready to serve"}},
		"not exited":             {match.HaveExited(0), running(), false, []string{"to have exited with code 0.", "Its program runs."}},
	} {
		got, err := c.matcher.Match(c.actual)
		if err != nil || got != c.want {
			t.Errorf("%s: got %v, %v", name, got, err)
			continue
		}
		text := c.matcher.FailureMessage(c.actual)
		if got {
			text = c.matcher.NegatedFailureMessage(c.actual)
		}
		for _, want := range c.message {
			if !strings.Contains(text, want) {
				t.Errorf("%s: the message lacks %q:\n%s", name, want, text)
			}
		}
		if strings.ContainsRune(text, '\x1b') {
			t.Errorf("%s: control characters in %q", name, text)
		}
	}
}

func TestMatchersRefuse(t *testing.T) {
	broken := running()
	broken.err = errors.New("no answer")
	for name, c := range map[string]struct {
		matcher types.GomegaMatcher
		actual  any
		want    string
	}{
		"no container":      {match.HaveLogged("x"), 7, "HaveLogged must be passed a *testkit.Container"},
		"nothing":           {match.HaveExited(0), nil, "HaveExited must be passed"},
		"number as log":     {match.HaveLogged(7), running(), "and not a int"},
		"relative file":     {match.HaveFile("etc"), running(), `absolute path of the container, and not "etc"`},
		"no regular file":   {match.HaveFile("/etc/fifo", ""), running(), "it is no regular file"},
		"relative pattern":  {match.HaveChangedOnly("tmp"), running(), `not "tmp"`},
		"malformed pattern": {match.HaveChangedOnly("/[a"), running(), `not "/[a"`},
		"diff fails":        {match.HaveChangedOnly("/"), broken, "no answer"},
		"listening fails":   {match.BeListeningOn(1), broken, "no answer"},
	} {
		if _, err := c.matcher.Match(c.actual); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// Eventually has nothing to wait for when the program has ended.
func TestEventuallyEndsWithTheProgram(t *testing.T) {
	for name, matcher := range map[string]types.GomegaMatcher{
		"logged": match.HaveLogged("never"), "listening": match.BeListeningOn(1), "file": match.HaveFile("/never"), "exited": match.HaveExited(0),
		"joined": gomega.And(match.HaveExited(3), match.HaveLogged("never")), "not": gomega.Not(match.HaveLogged("first")),
	} {
		var failure string
		g := gomega.NewGomega(func(message string, _ ...int) { failure = message })
		began := time.Now()
		if g.Eventually(ended()).WithTimeout(30 * time.Second).Should(matcher) {
			t.Errorf("%s: succeeded", name)
		}
		if spent := time.Since(began); spent > 10*time.Second || !strings.Contains(failure, "No future change is possible") {
			t.Errorf("%s: after %v: %s", name, spent, failure)
		}
	}
}

type spec struct {
	failed  bool
	entries []string
}

func (s *spec) Failed() bool { return s.failed }
func (s *spec) AddReportEntryVisibilityFailureOrVerbose(name string, args ...any) {
	s.entries = append(s.entries, fmt.Sprintf("%q %q", name, args))
}

func TestEvidenceIsForFailedSpecs(t *testing.T) {
	var s spec
	match.ReportEvidence(&s, running())
	if len(s.entries) != 0 {
		t.Errorf("got %v", s.entries)
	}
	s.failed = true
	match.ReportEvidence(&s, running(), ended())
	if len(s.entries) != 2 || s.entries[0] != `"container image:1 (abc)" ["evidence�"]` {
		t.Errorf("got %v", s.entries)
	}
}
