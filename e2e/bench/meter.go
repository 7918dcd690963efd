package main

import "time"

// A meter has a contender do its work once and measures it.
type meter func(*lab, *contender) (reading, error)

// A reading is what a meter shows.
type reading struct {
	value float64
	// largest is the resident memory of the largest process in MB, 0 from a meter that does not measure memory.
	largest float64
	byRSS   []string
}

// clock measures milliseconds of wall-clock time.
func clock(l *lab, c *contender) (reading, error) {
	work := c.job(l)
	begin := time.Now()
	err := work()
	return reading{value: in(time.Millisecond, time.Since(begin))}, err
}

// in returns a period as a number of units.
func in(unit, period time.Duration) float64 { return float64(period) / float64(unit) }

// ownGauge is the meter of contests whose contenders know best how to measure themselves.
func ownGauge(_ *lab, c *contender) (reading, error) { return c.gauge() }

// megabyte is that of disks and networks, not of memory chips: the larger number is the one to be judged by.
const megabyte = 1e6

// scales measures the peak of memory in MB. Its looking slows the commands down, so it is no clock.
func scales(l *lab, c *contender) (reading, error) {
	cmds := c.commands()
	w := watch(l.residents)
	err := l.run(cmds...)
	w.end()
	if err != nil {
		return reading{}, err
	}
	return reading{float64(w.peak) / megabyte, float64(largest(cmds)) / megabyte, w.byRSS}, nil
}
