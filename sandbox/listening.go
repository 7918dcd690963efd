package sandbox

import "context"

// AwaitListening returns when something in the container listens on the port. Network is tcp or udp.
//
// Errors: CodeAlreadyFinished as soon as the program ends; CodeNotRunning; CodeInvalid.
func (ct *Container) AwaitListening(ctx context.Context, network string, port uint16) error {
	return ct.client.ask(ctx, KindAwaitListening, AwaitListeningRequest{ct.request(), network, port}, nil)
}

// Listening returns what listens in the container, sorted by protocol, port and address. With the host's network these are
// the sockets of the container's own processes.
//
// Errors: CodeNotRunning, CodeAlreadyFinished; CodeUnsupported where the kernel cannot list sockets.
func (ct *Container) Listening(ctx context.Context) ([]Listener, error) {
	var all []Listener
	err := ct.client.ask(ctx, KindListening, ListeningRequest{ct.request()}, &all)
	return all, err
}

// Processes returns what runs in the container, sorted by number: the first process and its descendants, and those of Exec.
//
// Errors: CodeNotRunning, CodeAlreadyFinished.
func (ct *Container) Processes(ctx context.Context) ([]ProcessInfo, error) {
	var all []ProcessInfo
	err := ct.client.ask(ctx, KindProcesses, ProcessesRequest{ct.request()}, &all)
	return all, err
}
