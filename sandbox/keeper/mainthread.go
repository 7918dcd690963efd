package keeper

import (
	"os"
	"runtime"
)

// The main thread shall do nothing: threads that enter a container's namespaces or root, for libcontainer and for
// emulated ids, end afterwards, but the main thread cannot, and would keep the container's mounts for ever.
func init() {
	if os.Getpid() == 1 && len(os.Args) == 2 && os.Args[1] == "keeper" {
		runtime.LockOSThread()
	}
}

// offMainThread runs f on other threads.
func offMainThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}
