package testkit

import (
	"context"
	"errors"
	"strings"
)

// combined are the strategies of [All] and [Any].
type combined struct {
	strategies []Strategy
	any        bool
}

// All is reached when all strategies were reached, in their order. With none it is reached at once.
func All(strategies ...Strategy) Strategy { return combined{strategies: strategies} }

// Any is reached when one of strategies is. It fails when all have failed.
func Any(strategies ...Strategy) Strategy { return combined{strategies: strategies, any: true} }

// WaitReady implements [Strategy].
func (s combined) WaitReady(ctx context.Context, c *Container) error {
	if s.any {
		return s.waitAny(ctx, c)
	}
	for _, strategy := range s.strategies {
		if err := c.await(ctx, strategy); err != nil {
			return err
		}
	}
	return nil
}

func (s combined) waitAny(ctx context.Context, c *Container) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error, len(s.strategies))
	for _, strategy := range s.strategies {
		go func() { results <- c.await(ctx, strategy) }()
	}
	var failed []string
	var why error
	for range s.strategies {
		err := <-results
		if err == nil {
			return nil
		}
		failed, why = append(failed, err.Error()), err
	}
	var last *waitError
	if errors.As(why, &last) {
		why = last.why
	}
	return &waitError{what: s.String(), why: why, last: strings.Join(failed, "; ")}
}

// String implements [Strategy].
func (s combined) String() string {
	var names []string
	for _, strategy := range s.strategies {
		names = append(names, strategy.String())
	}
	if s.any {
		return "any of (" + strings.Join(names, ", ") + ")"
	}
	return "all of (" + strings.Join(names, ", ") + ")"
}

// traits of many: what one needs, all need. Ports of Any are not tried from the host, as another may have been reached.
func (s combined) traits() traits {
	sum := traits{held: true, outlives: true, ends: s.any && len(s.strategies) > 0}
	if s.any && len(s.strategies) == 0 {
		sum.problem = "needs at least one strategy"
	}
	for _, strategy := range s.strategies {
		if strategy == nil {
			sum.problem = "a strategy is nil"
			return sum
		}
		t := traitsOf(strategy)
		sum.ports = append(sum.ports, t.ports...)
		sum.held = sum.held && t.held
		if s.any {
			sum.ends = sum.ends && t.ends
		} else {
			sum.ends = sum.ends || t.ends
			sum.outside = append(sum.outside, t.outside...)
		}
		if t.problem != "" {
			sum.problem = t.problem
		}
	}
	return sum
}
