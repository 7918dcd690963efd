package testkit

import (
	"context"
	"fmt"
	"os"
	"time"
)

// reporter is what Ginkgo's GinkgoT() has for what belongs to a spec's report.
type reporter interface {
	AddReportEntryVisibilityFailureOrVerbose(name string, args ...any)
}

// belongTo makes a container one of a test, after which it ends.
func (c *Container) belongTo(tb TB) {
	if tb != nil {
		c.tb = tb
		tb.Cleanup(c.finish)
	}
}

// finish is what happens to a container after its test.
func (c *Container) finish() {
	c.tb.Helper()
	if c.use("") != nil {
		return // it was closed by hand
	}
	failed := c.tb.Failed()
	if failed {
		c.report()
	}
	if failed && os.Getenv("BIVOUAC_KEEP") == "1" && c.keep() {
		return
	}
	if err := c.Close(); err != nil {
		c.tb.Logf("testkit: %v", err)
	}
}

// report gives the test the evidence.
func (c *Container) report() {
	c.tb.Helper()
	evidence := printable(c.Evidence(context.Background()))
	if r, ok := c.tb.(reporter); ok {
		r.AddReportEntryVisibilityFailureOrVerbose("container "+c.String(), evidence)
		return
	}
	c.tb.Logf("testkit: the test has failed; this is its %s", evidence)
}

// keep leaves the container to the user, and tells whether that worked.
func (c *Container) keep() bool {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), discardTimeout)
	defer cancel()
	if err := c.detach(ctx); err != nil {
		c.tb.Logf("testkit: BIVOUAC_KEEP=1, but %s cannot be kept: %v", c, err)
		return false
	}
	name := shellJoin([]string{c.info.Name})
	c.tb.Logf("testkit: BIVOUAC_KEEP=1: %s was kept. Enter it with\n    bivouac exec -it %s sh\nand remove it with\n    bivouac rm -f %s", c, name, name)
	return true
}

// detach hands the container over to its keeper, together with the pipes of its output.
func (c *Container) detach(ctx context.Context) error {
	r := c.current()
	var outputs []*os.File
	if r.isRunning() {
		outputs = r.outputs
	}
	if err := c.box.Detach(ctx, outputs...); err != nil {
		return fmt.Errorf("detach: %w", err)
	}
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	for _, f := range outputs {
		_ = f.SetReadDeadline(time.Now()) // what comes from now on is the keeper's
	}
	c.drainSinks()
	return nil
}

// printable keeps control characters of programs and file names from whoever reads the report in a terminal.
func printable(text string) string {
	out := []rune(text)
	for i, r := range out {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			out[i] = '\ufffd'
		}
	}
	return string(out)
}
