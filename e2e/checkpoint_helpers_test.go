package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/bivouac-run/bivouac/sandbox"
)

// needCRIU skips a spec of process checkpoints where there is no CRIU to test with.
func needCRIU() {
	GinkgoHelper()
	if os.Getenv("BIVOUAC_CRIU") == "" {
		Skip(os.Getenv("BIVOUAC_E2E_NO_CRIU"))
	}
}

// emptyStoreAfter removes the snapshots of a spec, and expects that nothing is left of any then: neither a draft, nor a layer,
// nor a lock. It is called before the spec makes a client.
func emptyStoreAfter(dir string) {
	DeferCleanup(func(ctx SpecContext) {
		if len(storedIn(dir, "by-id")) > 0 {
			client, err := sandbox.Start(ctx, sandbox.Options{Keeper: binary, Env: []string{"BIVOUAC_HOME=" + dir}})
			Expect(err).NotTo(HaveOccurred())
			defer client.Close()
			list, err := client.Snapshots(ctx)
			Expect(err).NotTo(HaveOccurred())
			for _, s := range list {
				Expect(client.RemoveSnapshot(ctx, s.ID)).To(Succeed())
			}
		}
		for _, part := range []string{"by-id", "layers", "locks", "trash"} {
			Expect(storedIn(dir, part)).To(BeEmpty(), "left in the store's "+part)
		}
	})
}

// storedIn lists a part of the store of snapshots.
func storedIn(dir, part string) []string {
	found, _ := filepath.Glob(filepath.Join(dir, "snapshots", "*", part, "*"))
	return found
}

// checkpointable prepares a specification for process checkpoints.
func checkpointable(spec sandbox.Spec) sandbox.Spec {
	spec.Checkpointable = true
	return spec
}

// processes is a checkpoint with processes, or an error.
var processes = sandbox.CheckpointSpec{Processes: sandbox.ProcessesRequired}

// kept is a checkpoint with processes after which the container goes on.
var kept = sandbox.CheckpointSpec{Processes: sandbox.ProcessesRequired, LeaveRunning: true}

// checkpointed makes a snapshot.
func checkpointed(ct *sandbox.Container, spec sandbox.CheckpointSpec) sandbox.Snapshot {
	GinkgoHelper()
	s, err := ct.Checkpoint(context.Background(), spec)
	Expect(err).NotTo(HaveOccurred())
	return s
}

// cloned makes a container from a snapshot, and starts it.
func cloned(client *sandbox.Client, snapshot string) *sandbox.Container {
	GinkgoHelper()
	return clonedAs(client, sandbox.RestoreSpec{Snapshot: snapshot}, sandbox.Streams{})
}

func clonedAs(client *sandbox.Client, spec sandbox.RestoreSpec, streams sandbox.Streams) *sandbox.Container {
	GinkgoHelper()
	ct, err := client.Restore(context.Background(), spec)
	Expect(err).NotTo(HaveOccurred())
	Expect(ct.Start(context.Background(), streams)).To(Succeed())
	return ct
}

// get asks an HTTP server in a container, and returns its answer without the line's end.
func get(ct *sandbox.Container, port, path string) (string, error) {
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return ct.Dial(ctx, "tcp", ":"+port) },
	}}
	return body(client.Get("http://container" + path))
}

func body(response *http.Response, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, text)
	}
	return strings.TrimSpace(string(text)), err
}

// got is get for answers that are expected.
func got(ct *sandbox.Container, port, path string) string {
	GinkgoHelper()
	text, err := get(ct, port, path)
	Expect(err).NotTo(HaveOccurred())
	return text
}

// redisDo sends a command over a connection of its own, which is closed then, and returns the answer: the text or number alone.
func redisDo(ct *sandbox.Container, command string) (string, error) {
	c, err := ct.Dial(context.Background(), "tcp", ":6379")
	if err != nil {
		return "", err
	}
	defer c.Close()
	return redisOver(c, nil)(command)
}

// redisOver returns a function that speaks over one connection, which is closed after an error, or with the spec's process.
func redisOver(c net.Conn, err error) func(command string) (string, error) {
	if err != nil {
		return func(string) (string, error) { return "", err }
	}
	answers := bufio.NewReader(c)
	return func(command string) (string, error) {
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.WriteString(c, command+"\r\n"); err != nil {
			return "", errors.Join(err, c.Close())
		}
		line, err := answers.ReadString('\n')
		if err == nil && strings.HasPrefix(line, "$") && line != "$-1\r\n" {
			line, err = answers.ReadString('\n')
		}
		if err != nil {
			return "", errors.Join(err, c.Close())
		}
		return strings.TrimPrefix(strings.TrimSpace(line), ":"), nil
	}
}

// psql asks the server in a container.
func psql(ct *sandbox.Container, statement string) (string, error) {
	streams, text := collect()
	x := sandbox.ExecSpec{Env: []string{"PGOPTIONS=-c client_min_messages=error"}, Args: []string{"psql", "-qAtX", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-c", statement}}
	p, err := ct.Exec(context.Background(), x, streams)
	if err != nil {
		text()
		return "", err
	}
	exit, err := p.Wait(context.Background())
	answer := strings.TrimSpace(text())
	if err == nil && exit.Code != 0 {
		err = fmt.Errorf("psql ended with %d: %s", exit.Code, answer)
	}
	return answer, err
}

// parseClocks reads what the services of the corpus answer at /time.
func parseClocks(text string) (monotonic time.Duration, wall time.Time) {
	GinkgoHelper()
	var t struct {
		Monotonic time.Duration `json:"monotonic_ns"`
		Wall      int64         `json:"wall_ms"`
	}
	Expect(json.Unmarshal([]byte(text), &t)).To(Succeed())
	return t.Monotonic, time.UnixMilli(t.Wall)
}

// said is what a line of the shell prints in a container.
func said(ct *sandbox.Container, spec sandbox.ExecSpec) string {
	GinkgoHelper()
	text, _ := executed(ct, spec)
	return text
}
