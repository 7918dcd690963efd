// Bench measures bivouac beside the programs that people would use instead: bubblewrap, crun, runc, podman, and skopeo
// with umoci. Those that are not installed are left out.
//
// All contenders of a contest run in the same rounds, in an order that changes with the round, after rounds that do not
// count: what disturbs the machine disturbs them all. It prints medians and what bivouac needs in proportion to each
// peer, says which targets are met, and ends with exit code 0 whatever the numbers are: how fast a machine is
// decides nothing. It does not run as root.
//
// The environment says where things are; `make bench` sets it:
//
//	BIVOUAC_E2E_BINARY    the bivouac executable
//	BIVOUAC_E2E_REGISTRY  host:port of the corpus's registry, plain HTTP
//	BIVOUAC_CORPUS        directory with the same images as OCI layouts below oci/
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// config is what the flags say.
type config struct {
	json                  string
	starts, pulls, checks int
}

func (c *config) parse(args []string) error {
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	flags.StringVar(&c.json, "json", "", "also write the results, with every measurement, to `FILE`")
	flags.IntVar(&c.starts, "starts", 40, "rounds of the contest in starting")
	flags.IntVar(&c.pulls, "pulls", 5, "rounds of the contest in pulling; its memory takes as many again")
	flags.IntVar(&c.checks, "checks", 20, "rounds of the contest in pulling what is there")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || min(c.starts, c.pulls, c.checks) < 1 {
		return errors.New("no arguments are taken, and there is at least one round of each contest")
	}
	return nil
}

func run(ctx context.Context, args []string) (err error) {
	var c config
	if err := c.parse(args); err != nil {
		return err
	}
	l, err := newLab(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	r, err := newReport(l.binary)
	if err != nil {
		return err
	}
	for _, make := range []func(*lab, config) contest{startContest, pullContest, memoryContest, againContest} {
		results, err := make(l, c).hold(l)
		if err != nil {
			return err
		}
		r.Contests = append(r.Contests, results)
	}
	r.judge(targets)
	return r.publish(os.Stdout, c.json)
}
