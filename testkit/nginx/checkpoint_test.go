package nginx_test

import (
	"crypto/rand"
	"net/http"
	"testing"
	"testing/fstest"

	"github.com/bivouac-run/bivouac/testkit/internal/corpus"
	"github.com/bivouac-run/bivouac/testkit/nginx"
)

func TestClonesServeTheFiles(t *testing.T) {
	corpus.Need(t)
	defer http.DefaultClient.CloseIdleConnections()
	text := rand.Text()
	ready := nginx.Checkpoint(nginx.Image("nginx:latest"), nginx.Files(fstest.MapFS{"index.html": {Data: []byte(text)}}))
	for range 2 {
		if status, body, _ := get(t, ready.Start(t).URL()+"/"); status != 200 || body != text {
			t.Errorf("got %d, %q", status, body)
		}
	}
}
