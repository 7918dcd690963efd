package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"
)

// TestExamples runs every example of every command's help, as it stands there. The scripts in testdata/examples have them
// as one would type them, between commands of testscript that prepare what the examples need and look at what they did:
//
//	$ COMMAND LINE      is run by bash, as an exec of testscript is (stdin, ttyin -stdin, stdout and stderr go with it)
//	! $ COMMAND LINE    has to fail
//	& $ COMMAND LINE    is run in the background until a wait; also after !
//	[cgroups]           is there before what needs limits to be enforced
//	waitfor TEXT CMD    runs a program until it prints the text
//	freeport PORT       waits until nobody has the port
func TestExamples(t *testing.T) {
	if os.Getenv("BIVOUAC_E2E_BINARY") == "" {
		t.Skip("BIVOUAC_E2E_BINARY is not set; run make test")
	}
	l := newExampleLab(t)
	testscript.Run(t, testscript.Params{
		Files:               exampleScripts(t),
		WorkdirRoot:         t.TempDir(),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               l.setUp,
		Condition:           l.fits,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"waitfor": waitForText, "freeport": waitForPort,
		},
	})
}

// shellLine is a command line of a script.
var shellLine = regexp.MustCompile(`(?m)^((?:\[\S+\] )?(?:! )?)(& )?\$ (.+)$`)

// exampleScripts writes the scripts as testscript wants them, and returns their paths.
func exampleScripts(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	var all []string
	for name, archive := range exampleArchives(t) {
		archive.Comment = shellLine.ReplaceAllFunc(archive.Comment, func(line []byte) []byte {
			parts := shellLine.FindSubmatch(line)
			command := string(parts[1]) + "exec bash -c '" + strings.ReplaceAll(string(parts[3]), "'", "''") + "'"
			if len(parts[2]) > 0 {
				command += " &"
			}
			return []byte(command)
		})
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		all = append(all, path)
	}
	return all
}

func exampleArchives(t *testing.T) map[string]*txtar.Archive {
	t.Helper()
	paths, err := filepath.Glob("testdata/examples/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scripts in testdata/examples: %v", err)
	}
	all := map[string]*txtar.Archive{}
	for _, path := range paths {
		if all[filepath.Base(path)], err = txtar.ParseFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestEveryExampleIsRun looks for examples that no script runs.
func TestEveryExampleIsRun(t *testing.T) {
	ran := map[string]bool{}
	for _, archive := range exampleArchives(t) {
		for _, parts := range shellLine.FindAllSubmatch(archive.Comment, -1) {
			ran[string(parts[3])] = true
		}
	}
	for page, lines := range examplesOf(t) {
		for _, line := range lines {
			if !ran[line] {
				t.Errorf("%s: no script in testdata/examples has $ %s", page, line)
			}
		}
	}
}

// examplesOf reads the examples of each command from its page in docs/reference, which is generated from the command. A line
// that ends with \ goes on.
func examplesOf(t *testing.T) map[string][]string {
	t.Helper()
	pages, err := filepath.Glob("../docs/reference/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages in docs/reference: %v", err)
	}
	all := map[string][]string{}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(string(text), "### Examples\n\n```\n")
		block, _, _ := strings.Cut(after, "\n```")
		block = strings.ReplaceAll(block, "\\\n", " ")
		for line := range strings.SplitSeq(block, "\n") {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				all[filepath.Base(page)] = append(all[filepath.Base(page)], line)
			}
		}
	}
	return all
}
