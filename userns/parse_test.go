package userns

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseEnter(t *testing.T) {
	many := func(n int) string {
		extents := make([]string, n)
		for i := range extents {
			extents[i] = fmt.Sprintf("%d,%d,1", i, i)
		}
		return "u:" + strings.Join(extents, ";") + " g:0,0,1"
	}
	tests := map[string]bool{
		"u:0,1500,1 g:0,1500,1":                               true,
		"u:0,1500,1;1,231072,65536 g:0,1500,1;1,231072,65536": true,
		"u:0,0,4294967295 g:0,0,4294967295":                   true,
		many(maxExtents):                                      true,
		many(maxExtents + 1):                                  false,
		"":                                                    false,
		"u":                                                   false,
		"u:":                                                  false,
		"u: g:":                                               false,
		"u:0,1500,1":                                          false,
		"u:0,1500,1 ":                                         false,
		"u:0,1500,1 g:":                                       false,
		"u:0,1500,1  g:0,1500,1":                              false,
		"g:0,1500,1 u:0,1500,1":                               false,
		"u:0,1500,1 g:0,1500,1 ":                              false,
		"u:0,1500,1 g:0,1500,1;":                              false,
		"u:0,1500,1 g:0,1500,1,":                              false,
		"u:0,1500 g:0,1500,1":                                 false,
		"u:0,1500,0 g:0,1500,1":                               false,
		"u:0,1500,-1 g:0,1500,1":                              false,
		"u:+0,1500,1 g:0,1500,1":                              false,
		"u:0x0,1500,1 g:0,1500,1":                             false,
		"u:0,,1 g:0,1500,1":                                   false,
		"u:0,1500,1;;1,2,3 g:0,1500,1":                        false,
		"u:4294967295,1500,1 g:0,1500,1":                      false,
		"u:0,4294967295,1 g:0,1500,1":                         false,
		"u:1,0,4294967295 g:0,1500,1":                         false,
		"u:0,4294967296,1 g:0,1500,1":                         false,
		"u:0,18446744073709551616,1 g:0,1500,1":               false,
		"u:0,1500,18446744073709551617 g:0,1500,1":            false,
		"u:0," + strings.Repeat("9", 5000) + ",1 g:0,1500,1": false,
		strings.Repeat("u:0,1,1;", 5000):                     false,
	}
	for text, want := range tests {
		m, ok := parseEnter(text)
		if ok != want {
			t.Errorf("parse %.60q: %v, want %v", text, ok, want)
		}
		if ok && m.String() != text {
			t.Errorf("parse %.60q gives %.60q", text, m.String())
		}
	}
}

// What C accepts means the same when Go writes it again, and stays within what the kernel's numbers hold.
func FuzzParseEnter(f *testing.F) {
	f.Add("u:0,1500,1;1,231072,65536 g:0,1500,1;1,231072,65536")
	f.Add("u:4294967294,0,1 g:0,0,4294967295")
	f.Fuzz(func(t *testing.T, text string) {
		m, ok := parseEnter(text)
		if !ok {
			return
		}
		again, ok := parseEnter(m.String())
		if !ok || again.String() != m.String() {
			t.Errorf("%q reads as %s and that as %s", text, m, again)
		}
		for _, e := range append(m.UIDs, m.GIDs...) {
			if e.Size == 0 || e.ContainerID+e.Size < e.ContainerID || e.HostID+e.Size < e.HostID {
				t.Errorf("%q gives %v", text, e)
			}
		}
	})
}
