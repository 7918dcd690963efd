package testkit_test

import (
	"strings"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/testkit"
)

func TestForksGoOnFromTheSameState(t *testing.T) {
	needCRIU(t)
	c := testkit.Start(t, image(t, "redis:7"), testkit.Checkpointable(), testkit.Ready(testkit.Port(6379)))
	pid := c.Inspect().ID
	redisSays(t, c, "OK", "set", "a", "1")
	fork := c.Fork(t, testkit.ProcessesRequired())
	redisSays(t, c, "OK", "set", "a", "2")
	redisSays(t, fork, "1", "get", "a")
	redisSays(t, fork, "OK", "set", "b", "3")
	redisSays(t, c, "", "get", "b")
	second := fork.Fork(t, testkit.ProcessesRequired())
	redisSays(t, second, "3", "get", "b")
	if fork.Addr(6379) == c.Addr(6379) || fork.ID() == pid || !fork.Inspect().Snapshot.Ephemeral {
		t.Errorf("got %+v of %+v", fork.Inspect(), c.Inspect())
	}
	if err := fork.Close(); err != nil {
		t.Fatal(err)
	}
	redisSays(t, c, "2", "get", "a")
	redisSays(t, second, "1", "get", "a")
}

func TestAForkOfFilesRestartsTheProgram(t *testing.T) {
	c := testkit.Start(t, image(t, "redis:7"), testkit.Ready(testkit.Port(6379)))
	redisSays(t, c, "OK", "set", "a", "1")
	fork := c.Fork(t)
	if s := fork.Inspect().Snapshot; s.Tier != sandbox.TierFiles || s.Quality != sandbox.QualityClean || !strings.Contains(s.Fallback, "not made for it") {
		t.Errorf("got %+v", s)
	}
	redisSays(t, fork, "1", "get", "a")
	redisSays(t, c, "1", "get", "a")
	redisSays(t, c, "OK", "set", "a", "2")
	redisSays(t, fork, "1", "get", "a")
	for deadline := time.Now().Add(time.Minute); strings.Count(c.Logs(), "Ready to accept connections") < 2 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	if !strings.Contains(c.Logs(), "DB saved on disk") || strings.Count(c.Logs(), "Ready to accept connections") != 2 {
		t.Errorf("the original's log is %s", c.Logs())
	}
}

func TestAContainerIsReset(t *testing.T) {
	eachTier(t, func(t *testing.T, tier testkit.Option) {
		c := preparedRedis(t, tier).Start(t)
		address := c.Addr(6379)
		for range 3 {
			redisSays(t, c, "OK", "set", "mine", "1")
			redisSays(t, c, "OK", "save")
			if err := c.Reset(t.Context()); err != nil {
				t.Fatal(err)
			}
			redisSays(t, c, "", "get", "mine")
			redisSays(t, c, "yes", "get", "prepared")
			if c.Addr(6379) != address {
				t.Errorf("%s became %s", address, c.Addr(6379))
			}
		}
		if err := c.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		redisSays(t, c, "yes", "get", "prepared")
	})
}

func TestProcessesThatAreRequiredAndCannotBeHad(t *testing.T) {
	c := testkit.Start(t, image(t, "redis:7"), testkit.Ready(testkit.Port(6379)))
	redisSays(t, c, "OK", "set", "a", "1")
	_, err := c.Checkpoint(t.Context(), testkit.ProcessesRequired())
	if sandbox.CodeOf(err) != sandbox.CodeCheckpoint || !strings.Contains(err.Error(), "Checkpointable") {
		t.Errorf("got %v", err)
	}
	redisSays(t, c, "1", "get", "a")
}
