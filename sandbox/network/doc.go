// Package network connects containers that have a network namespace of their own with the host: sockets made inside a
// namespace, published ports, and who listens on what.
//
// The process needs no privileges over the host's network. It must own the user namespace that owns the container's
// network namespace, as a keeper does.
package network
