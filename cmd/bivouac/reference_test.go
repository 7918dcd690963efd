package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// update has TestReferenceIsCurrent write what it would otherwise compare: make docs.
var update = flag.Bool("update", false, "write docs/reference and docs/man anew")

// TestReferenceIsCurrent compares the pages that are generated from the commands with the commands.
func TestReferenceIsCurrent(t *testing.T) {
	for _, kind := range []struct {
		dir      string
		generate func(*cobra.Command, *bytes.Buffer) error
		name     func(*cobra.Command) string
	}{
		{"../../docs/reference", markdownPage, func(c *cobra.Command) string { return pageName(c, "_") + ".md" }},
		{"../../docs/man", manPage, func(c *cobra.Command) string { return pageName(c, "-") + ".1" }},
	} {
		pages := map[string][]byte{}
		for _, cmd := range documented(referenceRoot()) {
			var page bytes.Buffer
			if err := kind.generate(cmd, &page); err != nil {
				t.Fatal(err)
			}
			pages[kind.name(cmd)] = page.Bytes()
		}
		if *update {
			rewritePages(t, kind.dir, pages)
		}
		comparePages(t, kind.dir, pages)
	}
}

// referenceRoot is the command tree without what depends on who asks.
func referenceRoot() *cobra.Command {
	root := newRootCommand(nil)
	root.Version = ""
	root.DisableAutoGenTag = true
	return root
}

// documented lists a command and those below it that help shows.
func documented(cmd *cobra.Command) []*cobra.Command {
	list := []*cobra.Command{cmd}
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && !c.IsAdditionalHelpTopicCommand() {
			c.DisableAutoGenTag = true
			list = append(list, documented(c)...)
		}
	}
	return list
}

func pageName(cmd *cobra.Command, separator string) string {
	return strings.ReplaceAll(cmd.CommandPath(), " ", separator)
}

func markdownPage(cmd *cobra.Command, page *bytes.Buffer) error {
	return doc.GenMarkdown(withBlocks(cmd), page)
}

// withBlocks marks what is indented in the long text as blocks, whose lines stay apart.
func withBlocks(cmd *cobra.Command) *cobra.Command {
	var text strings.Builder
	inside := false
	for line := range strings.Lines(cmd.Long) {
		block := strings.HasPrefix(line, "  ")
		if block != inside && text.Len() > 0 {
			text.WriteString("\n")
		}
		if inside = block; block {
			text.WriteString("    ")
		}
		text.WriteString(line)
	}
	cmd.Long = strings.ReplaceAll(text.String(), "\n\n\n", "\n\n")
	return cmd
}

// manPage has no date of its own: it would differ every day.
func manPage(cmd *cobra.Command, page *bytes.Buffer) error {
	date := time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)
	return doc.GenMan(withBlocks(cmd), &doc.GenManHeader{Section: "1", Source: "Bivouac", Manual: "Bivouac", Date: &date}, page)
}

func rewritePages(t *testing.T, dir string, pages map[string][]byte) {
	t.Helper()
	for _, name := range filesOf(dir) {
		if pages[name] == nil {
			_ = os.Remove(filepath.Join(dir, name))
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, page := range pages {
		if err := os.WriteFile(filepath.Join(dir, name), page, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func comparePages(t *testing.T, dir string, pages map[string][]byte) {
	t.Helper()
	const mend = "it is generated from the commands: make docs"
	for name, page := range pages {
		if got, _ := os.ReadFile(filepath.Join(dir, name)); !bytes.Equal(got, page) {
			t.Errorf("%s is missing or stale; %s", filepath.Join(dir, name), mend)
		}
	}
	for _, name := range filesOf(dir) {
		if pages[name] == nil {
			t.Errorf("%s is of no command; %s", filepath.Join(dir, name), mend)
		}
	}
}

func filesOf(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}

// TestEveryCommandHasAnExample keeps help from being a list of flags.
func TestEveryCommandHasAnExample(t *testing.T) {
	for _, cmd := range documented(referenceRoot()) {
		if cmd.Runnable() && cmd.Example == "" {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
	}
}
