package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEveryVerbExplainsItself(t *testing.T) {
	for _, cmd := range append(newRootCommand(nil).Commands(), newHelpCommand()) {
		if cmd.Hidden {
			continue
		}
		if cmd.Short == "" || cmd.Long == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: short %q, long %q", cmd.Name(), cmd.Short, cmd.Long)
		}
		if cmd.Runnable() && cmd.Example == "" {
			t.Errorf("%s has no example", cmd.Name())
		}
	}
}

// TestOnlyTheNamedVerbIsBuilt guards the time that a start takes.
func TestOnlyTheNamedVerbIsBuilt(t *testing.T) {
	for _, v := range verbs {
		commands := newRootCommand([]string{v.name, "--help"}).Commands()
		if len(commands) != 1 || commands[0].Name() != v.name {
			t.Errorf("%s: %d commands", v.name, len(commands))
		}
	}
	if all := newRootCommand([]string{"help"}).Commands(); len(all) != len(verbs) {
		t.Errorf("help knows %d of %d verbs", len(all), len(verbs))
	}
}

func TestGroupsNameVerbs(t *testing.T) {
	for _, g := range groups {
		for _, verb := range strings.Fields(g.verbs) {
			if !isVerb(verb) {
				t.Errorf("%s %s is no verb", g.title, verb)
			}
		}
	}
}

func TestOwnPath(t *testing.T) {
	want, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if got := ownPath(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if sameFile(filepath.Join(t.TempDir(), "gone"), want) {
		t.Error("a missing file is the same")
	}
}
