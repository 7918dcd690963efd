package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// confirm asks on w whether to go on after a warning, and reads the answer as Docker does: no answer is no.
func confirm(r io.Reader, w io.Writer, warning string) (bool, error) {
	if _, err := fmt.Fprintf(w, "%s\nAre you sure you want to continue? [y/N] ", warning); err != nil {
		return false, err
	}
	line, _ := bufio.NewReader(r).ReadString('\n') // the end of the input is no
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes", nil
}
