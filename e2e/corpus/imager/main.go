// Imager is the part of the corpus builder that handles archives, images and registries: it writes layers, composes
// images from them as OCI layouts, makes odd images that need no root, and serves layouts while a command runs.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

const usage = `usage: imager layer DIR TAR                      archive DIR as a layer
       imager images DIR LAYOUTS NAME...         compose the layouts of these names from the layers in DIR
       imager serve LAYOUTS SCRATCH COMMAND...   run COMMAND while two registries serve LAYOUTS, separated by colons`

// epoch dates everything in the images, so that equal input gives equal digests.
var epoch = time.Unix(1735689600, 0).UTC()

func main() {
	err := run(os.Args[1:])
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		os.Exit(exit.ExitCode())
	default:
		fmt.Fprintln(os.Stderr, "imager:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return errors.New(usage)
	}
	verb, args := args[0], args[1:]
	switch {
	case verb == "layer" && len(args) == 2:
		return archiveTree(args[0], args[1])
	case verb == "images" && len(args) > 2:
		return writeImages(args[0], args[1], args[2:])
	case verb == "serve" && len(args) > 2:
		return serve(args[0], args[1], args[2:])
	}
	return errors.New(usage)
}
