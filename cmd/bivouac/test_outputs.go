package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// testFiles are what a test binary writes outside of its sandbox because its command line says so.
type testFiles struct {
	files, dirs []string
	fuzz        bool
}

// fileFlags name a file in -test.outputdir, which is the working directory if it is not given (package testing).
var fileFlags = []string{"coverprofile", "cpuprofile", "memprofile", "blockprofile", "mutexprofile", "trace"}

// testOutputs reads a test binary's arguments. Directories are made if they are missing.
func testOutputs(args []string, dir string) (*testFiles, error) {
	values := testFlagValues(args)
	o := &testFiles{fuzz: values["fuzz"] != ""}
	base := resolvePath(values["outputdir"], dir)
	for _, name := range fileFlags {
		if v := values[name]; v != "" {
			o.files = append(o.files, resolvePath(v, base))
		}
	}
	if v := values["testlogfile"]; v != "" {
		o.files = append(o.files, resolvePath(v, dir))
	}
	if v := values["artifacts"]; v != "" && v != "false" {
		o.dirs = append(o.dirs, filepath.Join(base, "_artifacts"))
	}
	for _, v := range []string{values["gocoverdir"], values["fuzzcachedir"], os.Getenv("GOCOVERDIR")} {
		if v != "" {
			o.dirs = append(o.dirs, resolvePath(v, dir))
		}
	}
	for _, d := range o.dirs {
		if err := os.MkdirAll(d, 0o777); err != nil {
			return nil, fmt.Errorf("create the test's output directory: %w", err)
		}
	}
	return o, nil
}

func resolvePath(path, dir string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

// testFlagValues collects the flags -test.NAME=VALUE and -test.NAME VALUE. One without a value is "true".
func testFlagValues(args []string) map[string]string {
	values := map[string]string{}
	for i, arg := range args {
		if arg == "--" {
			break
		}
		text, ok := strings.CutPrefix(strings.TrimLeft(arg, "-"), "test.")
		if !ok || !strings.HasPrefix(arg, "-") {
			continue
		}
		name, value, given := strings.Cut(text, "=")
		if !given {
			value = "true"
			if i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
				value = args[i+1]
			}
		}
		values[name] = value
	}
	return values
}
