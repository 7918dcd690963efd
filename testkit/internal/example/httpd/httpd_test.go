package httpd_test

import (
	"io"
	"net/http"
	"os"
	"testing"
	"testing/fstest"

	"github.com/bivouac-run/bivouac/testkit"
	"github.com/bivouac-run/bivouac/testkit/internal/corpus"
	"github.com/bivouac-run/bivouac/testkit/internal/example/httpd"
)

func TestMain(m *testing.M) { os.Exit(corpus.Main(m)) }

func TestTheModuleServes(t *testing.T) {
	corpus.Need(t)
	site := fstest.MapFS{"hello.txt": {Data: []byte("hello"), Mode: 0o644}}
	closing, err := httpd.New(t.Context(), site)
	if err != nil {
		t.Fatal(err)
	}
	defer closing.Close()
	for _, server := range []*httpd.Server{closing, httpd.Start(t, site, testkit.User("1000"))} {
		response, err := http.Get(server.URL() + "/hello.txt")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if string(body) != "hello" || err != nil {
			t.Errorf("got %q, %v", body, err)
		}
	}
}
