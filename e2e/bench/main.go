// Bench measures bivouac beside the programs that people would use instead: bubblewrap, crun, runc, podman, and skopeo
// with umoci. Those that are not installed are left out. What it measures of testkit it does as a test would, by importing
// it; for published ports the peer is a server that is connected to directly.
//
// All contenders of a contest run in the same rounds, in an order that changes with the round, after rounds that do not
// count: what disturbs the machine disturbs them all. It prints medians and what bivouac needs in proportion to each
// peer, says which targets are met, and ends with exit code 0 whatever the numbers are: how fast a machine is
// decides nothing. It does not run as root.
//
// With -soak it measures nothing: it checkpoints and restores services many times over, and fails if that fails or leaves
// something.
//
// The environment says where things are; `make bench` sets it:
//
//	BIVOUAC_E2E_BINARY    the bivouac executable
//	BIVOUAC_E2E_REGISTRY  host:port of the corpus's registry, plain HTTP
//	BIVOUAC_CORPUS        directory with the same images as OCI layouts below oci/, those of slow services below slow/oci/
//	BIVOUAC_CRIU          a CRIU that is new enough, not set if there is none
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
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
	json                          string
	only                          []string // names of contests; empty: all
	starts, pulls, checks, rounds int
	slow                          bool // with services that start slowly
	soak                          int  // rounds of the soak, instead of contests; 0: none
}

// most is the number of rounds where one takes seconds.
func (c config) most() int { return min(20, c.rounds) }

// few is the number of rounds where each takes many containers.
func (c config) few() int { return max(1, c.rounds/8) }

func (c *config) parse(args []string) error {
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	flags.StringVar(&c.json, "json", "", "also write the results, with every measurement, to `FILE`")
	flags.IntVar(&c.starts, "starts", 40, "rounds of the contest in starting")
	flags.IntVar(&c.pulls, "pulls", 5, "rounds of the contest in pulling; its memory takes as many again")
	flags.IntVar(&c.checks, "checks", 20, "rounds of the contest in pulling what is there")
	flags.IntVar(&c.rounds, "rounds", 40, "rounds of the contests in a running keeper; those with clones take 20 at most, those that weigh, and fleet, an eighth")
	flags.BoolVar(&c.slow, "slow", false, "hold the contests in cloning services that start slowly, too")
	flags.IntVar(&c.soak, "soak", 0, "hold no contest, but checkpoint and restore each service, or those of -only, in `N` rounds, and look for leaks")
	flags.Func("only", "hold only the contests `NAME,...`, or those whose names begin with NAME-", func(names string) error {
		c.only = strings.Split(names, ",")
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || min(c.starts, c.pulls, c.checks, c.rounds) < 1 || c.soak < 0 {
		return errors.New("no arguments are taken, and there is at least one round of each contest")
	}
	return nil
}

// contests are all there are, in the order in which they are held.
func (c *config) contests(l *lab) []contest {
	var all []contest
	for _, make := range []func(*lab, config) contest{
		startContest, pullContest, memoryContest, againContest,
		warmContest, fleetContest, execContest, idleContest, keeperContest,
		throughputContest, latencyContest, connectionContest,
		poolContest, clonesMemoryContest, listContest, commitContest,
	} {
		all = append(all, make(l, *c))
	}
	for _, make := range []func(*lab, config) []contest{buildContests, cloneContests, clonesContests, checkpointContests} {
		all = append(all, make(l, *c)...)
	}
	return all
}

// choose returns the contests to hold, and the targets that are about these.
func (c *config) choose(all []contest, targets []target) ([]contest, []target, error) {
	names := []string{sizeContest}
	if len(c.only) > 0 {
		names = nil
	}
	for _, name := range c.only {
		if !slices.ContainsFunc(all, func(one contest) bool { return one.isOf(name) }) {
			return nil, nil, fmt.Errorf("there is no contest %q; there are %s", name, namesOf(all))
		}
	}
	all = slices.DeleteFunc(slices.Clone(all), func(one contest) bool {
		return len(c.only) > 0 && !slices.ContainsFunc(c.only, one.isOf)
	})
	for _, one := range all {
		names = append(names, one.name)
	}
	targets = slices.DeleteFunc(slices.Clone(targets), func(t target) bool { return !slices.Contains(names, t.contest) })
	return all, targets, nil
}

func namesOf(contests []contest) string {
	var names []string
	for _, one := range contests {
		names = append(names, one.name)
	}
	return strings.Join(names, ", ")
}

func run(ctx context.Context, args []string) (err error) {
	if len(args) == 2 && args[0] == serveArg {
		return serve(args[1])
	}
	var c config
	if err := c.parse(args); err != nil {
		return err
	}
	l, err := newLab(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if c.soak > 0 {
		return l.soak(c)
	}
	contests, targets, err := c.choose(c.contests(l), targets)
	if err != nil {
		return err
	}
	r, err := newReport(l.binary)
	if err != nil {
		return err
	}
	for _, one := range contests {
		results, err := one.hold(l)
		if err != nil {
			return err
		}
		r.Contests = append(r.Contests, results)
	}
	r.judge(targets)
	return r.publish(os.Stdout, c.json)
}
