package testkit

import (
	"context"
	"fmt"
	"strings"
)

// ExecStrategy is reached when a command in the container succeeds.
type ExecStrategy struct {
	args   []string
	code   int
	user   string
	output string
}

// Exec is reached when a command in the container exits with code 0. It is run again, with pauses, until then.
func Exec(args ...string) ExecStrategy { return ExecStrategy{args: args} }

// Code waits for another exit code than 0.
func (e ExecStrategy) Code(code int) ExecStrategy {
	e.code = code
	return e
}

// User runs the command as another user than the container's.
func (e ExecStrategy) User(user string) ExecStrategy {
	e.user = user
	return e
}

// Output also waits until the command's standard output contains text.
func (e ExecStrategy) Output(text string) ExecStrategy {
	e.output = text
	return e
}

// WaitReady implements [Strategy].
func (e ExecStrategy) WaitReady(ctx context.Context, c *Container) error {
	return poll(ctx, func(ctx context.Context) error {
		result, err := c.ExecWith(ctx, Command{Args: e.args, User: e.user})
		switch {
		case err != nil:
			return err
		case result.Code != e.code:
			return fmt.Errorf("the command %s: %s", exitText(result.Exit), lastLines(append(result.Stdout, result.Stderr...), 3))
		case !strings.Contains(string(result.Stdout), e.output):
			return fmt.Errorf("the command printed %q", lastLines(result.Stdout, 3))
		}
		return nil
	})
}

// String implements [Strategy].
func (e ExecStrategy) String() string {
	text := "command " + shellJoin(e.args)
	if e.code != 0 {
		text += fmt.Sprintf(" with exit code %d", e.code)
	}
	return text
}

func (e ExecStrategy) traits() traits {
	t := traits{held: true}
	if len(e.args) == 0 {
		t.problem = "Exec needs a command"
	}
	return t
}
