package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/testkit"
)

// poolSize is the number of clones that are kept ready.
const poolSize = 4

// poolContest takes clones of a pool that is full, as a test does.
func poolContest(l *lab, c config) contest {
	return contest{
		name: "pool", title: "pool: from the call to the first answer of redis:7", unit: "ms", meter: clock,
		warmups: 1, rounds: c.most(),
		contenders: []*contender{
			poolKit(l, nameBivouac, testkit.Pool(poolSize)),
			poolKit(l, nameBivouac+", no pool"),
		},
	}
}

func poolKit(l *lab, name string, more ...testkit.Option) *contender {
	s := serviceNamed(redisName)
	c := overKit(l, s.reference(l))
	c.name = name
	var prepared *testkit.Prepared
	var clone *testkit.Container
	ready := func() error {
		err := awaitPool(prepared)
		l.residents = descendants() // the pool's
		return err
	}
	take := func() (err error) {
		if clone, err = prepared.New(l.ctx); err == nil {
			err = s.queryAt(clone.Addr(int(s.port)))
		}
		return err
	}
	leave := func() error { return errors.Join(closeKit(clone), ready()) }
	fetch := c.prepare
	c.prepare = func() error {
		if err := fetch(); err != nil {
			return err
		}
		prepared = testkit.Checkpoint(s.reference(l), append(s.options(), more...)...)
		err := take()
		return errors.Join(leaveOut(sandbox.CodeOf(err) == sandbox.CodeCheckpoint, err), leave())
	}
	c.before, c.work, c.release = ready, take, leave
	c.about = func() string { return "package testkit; " + prepared.PoolStats().String() }
	return c
}

// poolPatience is after how long a pool will never be full.
const poolPatience = 30 * time.Second

// awaitPool returns when the pool is full.
func awaitPool(p *testkit.Prepared) error {
	for deadline := time.Now().Add(poolPatience); ; time.Sleep(calm / 50) {
		stats := p.PoolStats()
		switch {
		case stats.Err != nil:
			return stats.Err
		case stats.Ready == stats.Size:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("the pool is not full: %v", stats)
		}
	}
}
