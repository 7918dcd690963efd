package criu

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"
)

// MissingLibraryError tells that a program needs a library that is nowhere.
type MissingLibraryError struct {
	Library  string
	NeededBy string // the path of the program or library
}

func (e *MissingLibraryError) Error() string {
	return fmt.Sprintf("%s, which %s needs, is not in its directories of libraries", e.Library, e.NeededBy)
}

// object is what the dynamic loader reads of a program or a library.
type object struct {
	path    string
	loader  string // empty for a library or a static program
	needed  []string
	runpath []string
	header  elf.FileHeader
}

// readObject reads the file path; $ORIGIN is put in.
func readObject(path string) (*object, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read program %s: %w", path, err)
	}
	defer f.Close() //nolint:errcheck // only read
	o := &object{path: path, header: f.FileHeader}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz < 4096 {
			name := make([]byte, p.Filesz)
			if _, err := p.ReadAt(name, 0); err != nil {
				return nil, fmt.Errorf("read loader of %s: %w", path, err)
			}
			o.loader = string(bytes.TrimRight(name, "\x00"))
		}
	}
	if f.Section(".dynamic") == nil { // DynString calls this an error
		return o, nil
	}
	var runpath, rpath []string
	for tag, value := range map[elf.DynTag]*[]string{elf.DT_NEEDED: &o.needed, elf.DT_RUNPATH: &runpath, elf.DT_RPATH: &rpath} {
		if *value, err = f.DynString(tag); err != nil {
			return nil, fmt.Errorf("read libraries of %s: %w", path, err)
		}
	}
	if len(rpath) > 0 && len(runpath) == 0 {
		return nil, fmt.Errorf("%s has an RPATH (%s), which would be searched in the container first: "+
			"make it a RUNPATH with patchelf --set-rpath", path, strings.Join(rpath, ":"))
	}
	o.runpath = expandOrigin(runpath, filepath.Dir(path))
	return o, nil
}

func expandOrigin(lists []string, dir string) []string {
	var all []string
	for _, list := range lists {
		for _, path := range filepath.SplitList(list) {
			all = append(all, strings.NewReplacer("$ORIGIN", dir, "${ORIGIN}", dir).Replace(path))
		}
	}
	return all
}

// resolve finds the loader and all libraries of the binary. Those of a binary in a directory with a system of its own
// (Debian packages unpacked there, for example) are that system's, its sysroot.
func (i *Installation) resolve() error {
	path, err := filepath.EvalSymlinks(i.Path)
	if err != nil {
		return err
	}
	program, err := readObject(path)
	if err != nil || program.loader == "" {
		return err
	}
	sysroot, loader, err := findLoader(program)
	if err != nil {
		return err
	}
	i.Loader = loader
	if i.Libraries, err = findLibraries(sysroot, program); err != nil || isMusl(loader) {
		return err
	}
	i.standIn, err = standIn(path)
	return err
}

// findLoader returns the nearest directory above the program in which its loader is, at the place that the program names
// or, as it is before the packages' scripts have made that place a symlink, where libraries are.
func findLoader(program *object) (sysroot, loader string, err error) {
	name := filepath.Base(program.loader)
	for dir := filepath.Dir(program.path); ; dir = filepath.Dir(dir) {
		if !slices.Contains([]string{"bin", "sbin", "usr", "local"}, filepath.Base(dir)) {
			places := append([]string{filepath.Dir(program.loader)}, libraryPlaces(dir)...)
			for _, place := range places {
				if file, ok := regularFile(dir, filepath.Join(place, name)); ok {
					return dir, file, nil
				}
			}
		}
		if dir == "/" {
			return "", "", fmt.Errorf("its dynamic loader %s is not there", program.loader)
		}
	}
}

// libraryPlaces are the directories of a system's libraries, below its sysroot: with the names of Debian (by processor),
// of most others, and those of the loader's configuration.
func libraryPlaces(sysroot string) []string {
	var all []string
	for _, pattern := range []string{"etc/ld.so.conf", "etc/ld.so.conf.d/*.conf"} {
		files, _ := filepath.Glob(filepath.Join(sysroot, pattern)) // fails for bad patterns alone
		for _, file := range files {
			all = append(all, configuredPlaces(file)...)
		}
	}
	for _, dir := range []string{"lib", "usr/lib"} {
		dirs, _ := filepath.Glob(filepath.Join(sysroot, dir, "*-linux-*"))
		for _, found := range dirs {
			all = append(all, "/"+filepath.Join(dir, filepath.Base(found)))
		}
	}
	return append(all, "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib", "/usr/local/lib64")
}

// configuredPlaces reads the directories that a file of the loader's configuration names. What it includes is found by
// the caller.
func configuredPlaces(file string) []string {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil // as the loader does
	}
	var all []string
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "/") {
			all = append(all, line)
		}
	}
	return all
}

// findLibraries returns the directories with the libraries that the program and they themselves need, in the order in
// which they are to be searched.
//
// Errors: [*MissingLibraryError].
func findLibraries(sysroot string, program *object) ([]string, error) {
	places := libraryPlaces(sysroot)
	used, seen := map[string]bool{}, map[string]bool{}
	var dirs []string
	for queue := []*object{program}; len(queue) > 0; queue = queue[1:] {
		places = appendNew(queue[0].runpath, places)
		for _, name := range queue[0].needed {
			if seen[name] {
				continue
			}
			seen[name] = true
			found, dir := findLibrary(sysroot, places, name, program.header)
			if found == nil {
				return nil, &MissingLibraryError{name, queue[0].path}
			}
			used[dir] = true
			queue = append(queue, found)
		}
	}
	for _, place := range places {
		dir, err := securejoin.SecureJoin(sysroot, place)
		if err != nil {
			return nil, err
		}
		if used[dir] && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs, nil
}

// appendNew appends to a copy of list what of more is not in it.
func appendNew(list, more []string) []string {
	list = slices.Clone(list)
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// findLibrary finds a library for the same processor, and the directory that it is in.
func findLibrary(sysroot string, places []string, name string, like elf.FileHeader) (*object, string) {
	for _, place := range places {
		file, ok := regularFile(sysroot, filepath.Join(place, name))
		if !ok {
			continue
		}
		o, err := readObject(file)
		if err != nil || o.header.Class != like.Class || o.header.Machine != like.Machine {
			continue // as the loader does
		}
		if dir, err := securejoin.SecureJoin(sysroot, place); err == nil {
			return o, dir
		}
	}
	return nil, ""
}

// regularFile returns where the path below the sysroot leads to, if that is a regular file.
func regularFile(sysroot, path string) (string, bool) {
	file, err := securejoin.SecureJoin(sysroot, path)
	if err != nil {
		return "", false
	}
	info, err := os.Stat(file)
	return file, err == nil && info.Mode().IsRegular()
}
