package sandbox

import "context"

// Stats returns what the container uses: from its cgroup where it has one, otherwise summed over its processes.
//
// Errors: CodeNotRunning, CodeAlreadyFinished.
func (ct *Container) Stats(ctx context.Context) (Stats, error) {
	var s Stats
	err := ct.client.ask(ctx, KindStats, StatsRequest{ct.request()}, &s)
	return s, err
}
