package testkit_test

import (
	"testing"

	"github.com/bivouac-run/bivouac/testkit"
)

func BenchmarkRunTrue(b *testing.B) {
	name := image(b, "busybox:latest")
	testkit.Run(b, name, []string{"true"}) // the image is there, and the keeper
	for b.Loop() {
		testkit.Run(b, name, []string{"true"})
	}
}

func BenchmarkExecTrue(b *testing.B) {
	c := testkit.Start(b, image(b, "busybox:latest"), testkit.Args("sleep", "1000"))
	for b.Loop() {
		if _, err := c.Exec(b.Context(), "true"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStartUntilPort(b *testing.B) {
	name := image(b, "redis:7")
	for b.Loop() {
		c, err := testkit.New(b.Context(), name, testkit.Ready(testkit.Port(6379)))
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCloneUntilPort(b *testing.B) {
	for name, tier := range map[string]testkit.Option{"files": testkit.FilesOnly(), "processes": testkit.ProcessesRequired()} {
		b.Run(name, func(b *testing.B) {
			ready := testkit.Checkpoint(image(b, "redis:7"), testkit.Ready(testkit.Port(6379)), tier)
			if _, err := ready.Snapshot(b.Context()); err != nil {
				b.Skip(err)
			}
			for b.Loop() {
				c, err := ready.New(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				if err := c.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
