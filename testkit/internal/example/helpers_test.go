package example

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

func expect[T comparable](t *testing.T, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// command sends a line to Redis and returns the first of its answer.
func command(t *testing.T, addr, line string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, line+"\r\n")
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(answer)
}

func get(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// sources are where the pages' code comes from.
var sources = []string{
	"from_testcontainers_test.go", "testkit_test.go", "checkpoint_test.go", "httpd/httpd.go", "../../match/example_test.go",
}

var goBlock = regexp.MustCompile("(?s)```go\n(.*?)```")

// Code of the pages is code that compiles and runs, but for the other side of the comparison.
func TestPagesShowThisCode(t *testing.T) {
	var all strings.Builder
	for _, name := range sources {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(flat(string(text)))
	}
	for _, page := range []string{"../../../docs/testkit.md", "../../../docs/checkpoint.md", "../../../docs/from-testcontainers.md", "../../../docs/ci.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range goBlock.FindAllStringSubmatch(string(text), -1) {
			if theirs := strings.Contains(block[1], "testcontainers.") || strings.Contains(block[1], "ctr."); theirs {
				continue
			}
			for _, part := range strings.Split(block[1], "\n\n") {
				if !strings.Contains(all.String(), flat(part)) {
					t.Errorf("%s: this is in none of %v:\n%s", page, sources, part)
				}
			}
		}
	}
}

// flat is text without indentation and empty lines.
func flat(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}
