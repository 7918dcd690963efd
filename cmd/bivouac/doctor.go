package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/userns"
)

func newDoctorCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Tell what this machine can do, and what mends what it cannot",
		Long: `Tell what this machine can do for the user who asks, by trying it, and what mends what it cannot. It changes nothing.

Each need is answered with yes, no or unknown, what it is good for, what was found, and the one command that mends it.
The exit code is 0 if "bivouac run" will work, and 10 if not.

Templates are filled in for each need; they know .Name .Answer .Detail .Means .Remedy .Required.`,
		Example: `  bivouac doctor
  bivouac doctor --format '{{.Answer}} {{.Name}}'
  bivouac doctor --format json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			checks, err := examine(cmd)
			if err != nil {
				return err
			}
			if err := writeChecks(cmd.OutOrStdout(), format, checks); err != nil {
				return err
			}
			return diagnosis(checks)
		},
	}
	cmd.Flags().StringVar(&format, "format", "", fmt.Sprintf(formatUsage, "Name"))
	return cmd
}

// examine makes all checks of the machine, and those of the store.
func examine(cmd *cobra.Command) ([]userns.Check, error) {
	dir, err := rootfs.DefaultDir()
	if err != nil {
		return nil, err
	}
	checks := userns.Checks(cmd.Context(), userns.CheckOptions{StoreDir: dir})
	return append(checks, checkCRIU(cmd.Context()), checkStore(dir)), nil
}

// diagnosis is nil if containers will run.
func diagnosis(checks []userns.Check) error {
	if userns.Runnable(checks) {
		return nil
	}
	var missing []string
	for _, c := range checks {
		if c.Required && c.Answer != userns.Yes {
			missing = append(missing, c.Name)
		}
	}
	err := errors.New("bivouac run will not work here without " + strings.Join(missing, ", ") + "; mend it as said above")
	return exitError{code: exitCodeOf(&sandbox.Error{Code: sandbox.CodeUnsupported}), err: err}
}

func writeChecks(w io.Writer, format string, checks []userns.Check) error {
	if format != "" {
		return writeRows(w, format, checks, userns.Check{})
	}
	var out bytes.Buffer
	colour, width := canColour(w), widthOf(w, 100)
	for _, c := range checks {
		writeCheck(&out, c, colour, width)
	}
	if userns.Runnable(checks) {
		fmt.Fprintln(&out, "bivouac run will work here.")
	}
	_, err := out.WriteTo(w) // not by show, which would take out the colours
	return err
}

// margin is as wide as the longest answer and two blanks.
const margin = "         "

func writeCheck(out *bytes.Buffer, c userns.Check, colour bool, width int) {
	need := c.Name
	if c.Required {
		need += " (required)"
	}
	fmt.Fprintf(out, "%s%s%s\n", coloured(c.Answer, colour), margin[len(c.Answer.String()):], printable(need))
	for _, part := range []struct{ label, text string }{{"", c.Means}, {"found: ", c.Detail}} {
		if part.text != "" {
			writeWrapped(out, part.label+printable(part.text), width)
		}
	}
	if c.Remedy != "" { // in one piece, to be copied
		fmt.Fprintf(out, "%smend:  %s\n", margin, printable(c.Remedy))
	}
	out.WriteByte('\n')
}

func coloured(a userns.Answer, colour bool) string {
	codes := map[userns.Answer]string{userns.Yes: "32", userns.No: "31", userns.Unknown: "33"}
	if !colour {
		return a.String()
	}
	return "\x1b[" + codes[a] + "m" + a.String() + "\x1b[0m"
}

// writeWrapped writes text in lines of at most width characters, unless a word is longer.
func writeWrapped(out *bytes.Buffer, text string, width int) {
	line := margin
	for _, word := range strings.Fields(text) {
		if len(line)+len(word) > width && line != margin {
			fmt.Fprintln(out, strings.TrimRight(line, " "))
			line = margin
		}
		line += word + " "
	}
	fmt.Fprintln(out, strings.TrimRight(line, " "))
}

// newProbeCommand is the other half of [userns.Checks], which starts it in namespaces of its own.
func newProbeCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "probe DIR",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(userns.ProbeInside(args[0]))
		},
	}
}
