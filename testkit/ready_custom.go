package testkit

import "context"

// custom is a strategy of the caller's.
type custom struct {
	name string
	try  func(ctx context.Context, c *Container) error
}

// Custom is reached when try returns nil. It is called again, with pauses, after each error but a [Permanent] one. The
// container's ports can be reached while it is called. The name is for messages.
func Custom(name string, try func(ctx context.Context, c *Container) error) Strategy {
	return custom{name, try}
}

// WaitReady implements [Strategy].
func (s custom) WaitReady(ctx context.Context, c *Container) error {
	return poll(ctx, func(ctx context.Context) error { return s.try(ctx, c) })
}

// String implements [Strategy].
func (s custom) String() string { return s.name }
