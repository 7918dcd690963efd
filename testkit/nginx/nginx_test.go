package nginx_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/bivouac-run/bivouac/testkit/internal/corpus"
	"github.com/bivouac-run/bivouac/testkit/nginx"
)

func TestMain(m *testing.M) { os.Exit(corpus.Main(m)) }

func Example() {
	var t *testing.T // the test's
	site := nginx.Start(t,
		nginx.Files(os.DirFS("testdata/site")),
		nginx.Config("location /slow { limit_rate 1k; }"))
	response, err := http.Get(site.URL() + "/index.html")
	fmt.Println(response, err)
}

func get(t *testing.T, url string) (int, string, http.Header) {
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
	return response.StatusCode, string(body), response.Header
}

func TestFilesAreServed(t *testing.T) {
	corpus.Need(t)
	defer http.DefaultClient.CloseIdleConnections()
	site := nginx.Start(t, nginx.Image("nginx:latest"),
		nginx.Files(fstest.MapFS{
			"index.html":      {Data: []byte("<p>hello")},
			"private/key.txt": {Data: []byte("readable all the same"), Mode: 0o600},
		}),
		nginx.Files(fstest.MapFS{"more/style.css": {Data: []byte("p {}")}}),
		nginx.Config(`location /old { return 301 /new; }`), nginx.Config(`add_header X-Test "yes";`))
	status, body, header := get(t, site.URL()+"/")
	if status != 200 || body != "<p>hello" || header.Get("Content-Type") != "text/html" || header.Get("X-Test") != "yes" {
		t.Errorf("got %d, %q, %v", status, body, header)
	}
	if status, body, _ := get(t, site.URL()+"/private/key.txt"); status != 200 || !strings.HasPrefix(body, "readable") {
		t.Errorf("got %d, %q", status, body)
	}
	if status, _, header := get(t, site.URL()+"/more/style.css"); status != 200 || header.Get("Content-Type") != "text/css" {
		t.Errorf("got %d, %v", status, header)
	}
	if status, _, _ := get(t, site.URL()+"/old"); status != 404 { // redirected to what is not there
		t.Errorf("got %d", status)
	}
	for deadline := time.Now().Add(time.Minute); !strings.Contains(site.Logs(), `"GET /old HTTP/1.1" 301`); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log has no such line: %q", site.Logs())
		}
	}
}

func TestAConfigurationThatIsWrongIsToldAtOnce(t *testing.T) {
	corpus.Need(t)
	_, err := nginx.New(t.Context(), nginx.Image("nginx:latest"), nginx.Config("no_such_directive on;"))
	if err == nil || !strings.Contains(err.Error(), `unknown directive "no_such_directive"`) {
		t.Errorf("got %v", err)
	}
}
