// Package testkit starts real services in containers from Go tests, and leaves nothing behind.
//
//	func TestStore(t *testing.T) {
//		db := testkit.Start(t, "docker.io/library/redis:7", testkit.Ready(testkit.Port(6379)))
//		client := dial(db.Addr(6379)) // an address of this machine
//		...
//	} // nothing to clean up
//
// [Start] takes a *testing.T, *testing.B, *testing.F or Ginkgo's GinkgoT(), fails the test if the container does not get
// ready, and discards the container after the test. [Run] runs one command to its end. [New] is for programs that are no
// tests: it takes the same options and returns errors. Options say what runs ([Env], [Args], [File]), which of its ports
// can be reached ([Publish]) and when it is ready ([Ready] with [Port], [LogLine], [HTTP], [SQL], [Exec], [FileExists],
// [Exited], [Healthy], [TLSCertificate], [All], [Any], [Custom]).
//
// [Build] builds the image of a Dockerfile, once as long as nothing of it changes, and returns what Start takes.
//
// # Checkpoints
//
// [Checkpoint] has a service started and prepared once, whatever the number of tests, packages and runs, and
// [Prepared.Start] gives each test a clone of it that runs and is ready, in milliseconds. In the middle of a test
// [Container.Fork] makes a copy of a container that runs, and [Container.Reset] puts one back.
//
// # Where containers run
//
// All containers of a process share one keeper, a child process that the first of them starts: see package sandbox. The
// kernel ends the keeper and all that it started when the process ends, however it does: by a panic, os.Exit, the
// time-out of go test, or SIGKILL. Nothing else has to watch over that. The keeper's executable is $BIVOUAC, the bivouac
// tool of the Go module under test, or bivouac on $PATH.
//
// # Failing tests
//
// After a test that failed, its log has the evidence of each of its containers: the command line that reproduces it, how
// the program ended, the last lines of its log, its processes, the files that it changed and the ports that it listens on.
//
// # Environment
//
//	BIVOUAC          the bivouac executable
//	BIVOUAC_REQUIRE  1: a machine that cannot run containers fails tests instead of skipping them; set it in CI
//	BIVOUAC_KEEP     1: a failed test's containers are kept, and its log says how to enter them
//	BIVOUAC_CRIU     the criu executable for checkpoints of processes, version 4.2 or newer; otherwise criu on $PATH
//
// The package is pure Go and imports neither a container runtime nor a registry client.
package testkit
