package main

import (
	"fmt"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// clonesContest names a contest of clonesContests.
func clonesContest(service string, count int) string {
	return fmt.Sprintf("clones-%s-%d", service, count)
}

// clonesContests bring up many clones at once. All live at the same time, and each is asked again when all have answered.
func clonesContests(l *lab, c config) (all []contest) {
	for _, crowd := range []struct {
		service string
		count   int
	}{{postgresName, 10}, {redisName, 50}, {redisName, 150}} {
		s := serviceNamed(crowd.service)
		contenders := []*contender{crowdOf(l, s, crowd.count, sandbox.ProcessesRequired)}
		if s.name == postgresName {
			contenders = append(contenders, crowdOf(l, s, crowd.count, sandbox.ProcessesNever))
		}
		all = append(all, contest{
			name: clonesContest(s.name, crowd.count), title: fmt.Sprintf("clones: %d of %s at once, until all have answered", crowd.count, s.image),
			unit: "ms", meter: ownGauge, warmups: 1, rounds: c.most(), contenders: contenders,
		})
	}
	return all
}

func crowdOf(l *lab, s service, count int, processes sandbox.ProcessPolicy) *contender {
	n := newNursery(l, s, processes)
	name := nameBivouac
	if processes == sandbox.ProcessesNever {
		name += ", files"
	}
	c := n.contender(name)
	crowd := crowd{nursery: n}
	c.gauge = func() (reading, error) {
		begin := time.Now()
		if err := crowd.grow(count); err != nil {
			return reading{}, err
		}
		took := time.Since(begin)
		return reading{value: in(time.Millisecond, took)}, crowd.askAgain()
	}
	c.release = crowd.end
	return c
}

// A crowd is clones that live at the same time.
type crowd struct {
	*nursery
	all []*sandbox.Container
}

// grow adds clones, all at once, and returns when each has answered.
func (c *crowd) grow(by int) error {
	more := make([]*sandbox.Container, by)
	err := atOnce(by, func(i int) (err error) {
		more[i], err = c.clone()
		return err
	})
	c.all = append(c.all, more...)
	return err
}

// askAgain tells whether all still answer.
func (c *crowd) askAgain() error {
	return atOnce(len(c.all), func(i int) error { return c.service.query(c.all[i]) })
}

func (c *crowd) end() error {
	all := c.all
	c.all = nil
	return atOnce(len(all), func(i int) error { return discard(c.lab, all[i]) })
}

// clonesMemoryContest weighs clones of a redis.
func clonesMemoryContest(l *lab, c config) contest {
	return contest{
		name: "clonesmemory", unit: "MiB", meter: ownGauge, rounds: c.few(),
		title: fmt.Sprintf("clonesmemory: memory (PSS) of each further clone of redis:7, from %d to %d", crowdSmall, crowdLarge),
		contenders: []*contender{
			weighCrowd(l, nameBivouac, "all that runs in the container", (*crowd).weighContainers),
			weighCrowd(l, nameBivouac+", keeper", "what each adds to the keeper", (*crowd).weighKeeper),
		},
	}
}

// How many clones clonesMemoryContest weighs first and then.
const crowdSmall, crowdLarge = 50, 150

func weighCrowd(l *lab, name, about string, weigh func(*crowd) (int64, error)) *contender {
	n := newNursery(l, serviceNamed(redisName), sandbox.ProcessesRequired)
	c := n.contender(name)
	c.about = func() string { return about }
	crowd := crowd{nursery: n}
	c.gauge = func() (reading, error) {
		var bytes [2]int64
		for i, count := range []int{crowdSmall, crowdLarge - crowdSmall} {
			err := crowd.grow(count)
			if err == nil {
				time.Sleep(calm)
				bytes[i], err = weigh(&crowd)
			}
			if err != nil {
				return reading{}, err
			}
		}
		return reading{value: float64(bytes[1]-bytes[0]) / (crowdLarge - crowdSmall) / mebibyte}, nil
	}
	c.release = crowd.end
	return c
}

func (c *crowd) weighContainers() (int64, error) {
	var sum int64
	for _, ct := range c.all {
		stats, err := ct.Stats(c.lab.ctx)
		if err != nil {
			return 0, err
		}
		sum += stats.PSS
	}
	return sum, nil
}

func (c *crowd) weighKeeper() (int64, error) {
	var w watcher
	return w.memoryOf(c.keeper()), nil
}
