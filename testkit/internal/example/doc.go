// Package example has the code of docs/testkit.md and docs/from-testcontainers.md, as tests that compile and run.
package example
