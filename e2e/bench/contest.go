package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// A contest lets contenders do the same work side by side.
type contest struct {
	name, title, unit string
	meter             meter
	warmups, rounds   int
	contenders        []*contender
}

// isOf tells whether it has a name, or is of the contests of the same kind whose names begin with that.
func (c contest) isOf(name string) bool { return c.name == name || strings.HasPrefix(c.name, name+"-") }

// hold measures every contender in every round. A peer that fails is left out with all its measurements.
//
// Errors: bivouac failed, the benchmark was interrupted.
func (c contest) hold(l *lab) (results, error) {
	fmt.Fprintf(os.Stderr, "%s: %d rounds, after %d to warm up\n", c.title, c.rounds, c.warmups)
	rows := make([]*row, len(c.contenders))
	for i, one := range c.contenders {
		rows[i] = &row{Name: one.name, contender: one}
		if err := rows[i].admit(l); err != nil {
			return results{}, err
		}
	}
	if err := l.flush(); err != nil {
		return results{}, err
	}
	for round := range c.warmups + c.rounds {
		for _, i := range order(round, len(rows)) {
			if err := rows[i].take(l, c.meter, round < c.warmups); err != nil {
				return results{}, err
			}
		}
	}
	return results{c.name, c.title, c.unit, rows}, c.clear(l)
}

func (c contest) clear(l *lab) error {
	for _, one := range c.contenders {
		if one.dir == "" {
			continue
		}
		if err := one.leave(l); err != nil {
			return fmt.Errorf("clear up after %s: %w", one.name, err)
		}
	}
	return nil
}

// order returns the numbers below n in the order in which a round takes them: each is first as often as the others, and
// every second time they go backwards, so that none always follows the same one.
func order(round, n int) []int {
	turn := make([]int, n)
	for i := range turn {
		turn[i] = (round + i) % n
	}
	if n > 0 && round/n%2 == 1 {
		slices.Reverse(turn)
	}
	return turn
}
