package keeper

import (
	"context"
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
)

// TestCopiesEndBeforeTheFilesAreGivenUp has a copy that takes some time to notice the end of its container's life.
func TestCopiesEndBeforeTheFilesAreGivenUp(t *testing.T) {
	c := (&keeper{}).newContainer(&sandbox.Spec{}, nil)
	ctx, end := c.beginCopy(context.Background())
	order := make(chan string, 2)
	go func() {
		<-ctx.Done()
		order <- "copied"
		end()
	}()
	c.endLife()
	c.endCopies()
	order <- "given up"
	if first := <-order; first != "copied" {
		t.Errorf("first was %q", first)
	}
	late, end := c.beginCopy(context.Background())
	<-late.Done()
	end()
}
