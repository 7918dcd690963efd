// Command bivouac runs containers for tests as an ordinary user: no root, no daemon.
package main

import (
	"os"

	"github.com/bivouac-run/bivouac/sandbox/keeper"
)

func main() { os.Exit(realMain()) }

// realMain looks for the parts that this binary plays inside before anything else is set up: they are in the path of
// every start. Being a container's first process is decided even earlier, by the C constructors.
func realMain() int {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "init":
			keeper.Init()
		case "keeper":
			return keeper.Main()
		}
	}
	return execute()
}
