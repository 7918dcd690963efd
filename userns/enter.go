package userns

/*
#cgo CFLAGS: -Wall -Wextra
#include <stdlib.h>
#include "enter.h"
*/
import "C"

import "unsafe"

// EnterVariable names the environment variable on which enter.c acts. The process that appears inside does not have it.
const EnterVariable = "_BIVOUAC_ENTER"

// EnterEnv returns the environment entry that makes a program that links this package start as process 1 and root of its
// own user, mount and process namespaces, with the ids of m, its own /proc, and no terminal that could signal it.
//
// What was started stays as a small process outside and ends when process 1 does, with its exit code, or 128 and the
// number of the signal that killed it. Killing it kills everything inside. If the namespaces cannot be had, it prints one
// line on standard error and exits with 125.
func EnterEnv(m Mapping) string { return EnterVariable + "=" + m.String() }

// parseEnter reads the variable's value as enter.c does; false if that would refuse it.
func parseEnter(text string) (Mapping, bool) {
	unsafeText := C.CString(text)
	defer C.free(unsafe.Pointer(unsafeText))
	var uids, gids C.struct_bivouac_map
	if C.bivouac_enter_parse(unsafeText, &uids, &gids) == 0 {
		return Mapping{}, false
	}
	return Mapping{UIDs: fromC(&uids), GIDs: fromC(&gids)}, true
}

func fromC(m *C.struct_bivouac_map) []IDMap {
	maps := make([]IDMap, m.n)
	for i := range maps {
		e := m.extents[i]
		maps[i] = IDMap{ContainerID: uint32(e.inside), HostID: uint32(e.outside), Size: uint32(e.size)}
	}
	return maps
}
