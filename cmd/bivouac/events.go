package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

// eventsFlags are those of the verb events.
type eventsFlags struct {
	since, until, format string
	filters              []string
}

func newEventsCommand() *cobra.Command {
	f := &eventsFlags{}
	cmd := &cobra.Command{
		Use:   "events [flags]",
		Short: "Print what happens to containers, images and volumes",
		Long: `Print what happens to your containers, images and volumes from now on, whichever program does it, until --until or Ctrl-C. With
--since also what has happened before: the last 1 MB of it at least is on record. Containers that a Go program made and that
bivouac ps does not show have no events, and health checks only where the health changes.

A TIME is a date such as 2030-01-02T15:04:05Z, seconds since 1970, or a duration such as 10m, counted back from now.

A filter is type=container|image|volume|builder, event=ACTION, container=NAME|ID, image=NAME|ID, volume=NAME or
label=NAME[=VALUE]; several of one kind are alternatives, those of different kinds all apply.`,
		Example: `  bivouac events --since 10m --until 0s
  bivouac events --filter type=container --filter event=die
  bivouac events --since 1h --until 0s --format '{{.Time}} {{.Action}} {{.Actor.Attributes.name}}'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	cmd.Flags().StringVar(&f.since, "since", "", "print also what has happened since a `TIME`")
	cmd.Flags().StringVar(&f.until, "until", "", "stop at a `TIME`")
	cmd.Flags().StringArrayVarP(&f.filters, "filter", "f", nil, "print only what fits `KEY=VALUE`")
	cmd.Flags().StringVar(&f.format, "format", "", fmt.Sprintf(formatUsage, "Action"))
	return cmd
}

func (f *eventsFlags) run(ctx context.Context, w io.Writer) error {
	spec, err := f.spec(time.Now())
	if err != nil {
		return err
	}
	wanted, err := parseFilters(f.filters, "type", "event", "container", "image", "volume", "label")
	if err != nil {
		return err
	}
	write, err := f.writer()
	if err != nil {
		return err
	}
	for e, err := range sandbox.Events(ctx, spec) {
		if err != nil {
			return err
		}
		if !eventFits(e, wanted) {
			continue
		}
		if err := write(w, e); err != nil {
			return err
		}
	}
	return nil
}

func (f *eventsFlags) spec(now time.Time) (sandbox.EventsSpec, error) {
	s := sandbox.EventsSpec{Since: now, Follow: true}
	for flag, to := range map[string]*time.Time{"since": &s.Since, "until": &s.Until} {
		text := map[string]string{"since": f.since, "until": f.until}[flag]
		if text == "" {
			continue
		}
		t, ok := parseTime(text, now)
		if !ok {
			return s, usageErrorf("--%s %q: needs a time such as 2030-01-02T15:04:05Z, seconds since 1970, or a duration such as 10m", flag, text)
		}
		*to = t
	}
	return s, nil
}

// eventFits tells whether an event is wanted.
func eventFits(e sandbox.Event, f filters) bool {
	of := func(kind string, names ...string) func(string) bool {
		return func(value string) bool {
			return e.Type == kind && slices.ContainsFunc(names, func(n string) bool { return n == value || strings.HasPrefix(e.ID, value) && value != "" })
		}
	}
	action, _, _ := strings.Cut(e.Action, ":")
	return f.any("type", func(v string) bool { return v == e.Type }) &&
		f.any("event", func(v string) bool { return v == e.Action || v == action }) &&
		f.any("container", of(sandbox.EventContainer, e.Attributes["name"])) &&
		f.any("volume", func(v string) bool { return e.Type == sandbox.EventVolume && e.ID == v }) &&
		f.any("image", func(v string) bool { return imageFits(e, v) }) &&
		f.labelsFit(e.Attributes)
}

// imageFits tells whether an event is about an image, or a container of it, with or without its tag.
func imageFits(e sandbox.Event, value string) bool {
	names := []string{e.Attributes["image"]}
	if e.Type == sandbox.EventImage {
		names = []string{e.ID, e.Attributes["name"]}
	}
	return slices.ContainsFunc(names, func(n string) bool {
		return n != "" && (n == value || imageName(n) == value || untagged(imageName(n)) == value)
	})
}

// untagged is a reference without its tag or digest.
func untagged(name string) string {
	name, _, _ = strings.Cut(name, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	return name
}

// eventRow is an event as it is printed. Its fields have Docker's names.
type eventRow struct {
	Status string     `json:"status,omitempty"` // of containers and images alone
	ID     string     `json:"id,omitempty"`
	From   string     `json:"from,omitempty"`
	Type   string     `json:"Type"`
	Action string     `json:"Action"`
	Actor  eventActor `json:"Actor"`
	Scope  string     `json:"scope"`

	Time     int64 `json:"time"`
	TimeNano int64 `json:"timeNano"`
}

type eventActor struct {
	ID         string            `json:"ID"`
	Attributes map[string]string `json:"Attributes"`
}

func rowOf(e sandbox.Event) eventRow {
	r := eventRow{
		Type: e.Type, Action: e.Action, Actor: eventActor{e.ID, orNone(e.Attributes)}, Scope: "local", Time: e.Time.Unix(), TimeNano: e.Time.UnixNano(),
	}
	if e.Type == sandbox.EventContainer || e.Type == sandbox.EventImage {
		r.Status, r.ID, r.From = e.Action, e.ID, e.Attributes["image"]
	}
	return r
}

// orNone has missing attributes shown as an empty object.
func orNone(attributes map[string]string) map[string]string {
	if attributes == nil {
		return map[string]string{}
	}
	return attributes
}

// writer returns what prints an event in the wanted form.
//
// Errors: usageError.
func (f *eventsFlags) writer() (func(io.Writer, sandbox.Event) error, error) {
	switch f.format {
	case "":
		return func(w io.Writer, e sandbox.Event) error { return show(w, []byte(describeEvent(e)+"\n")) }, nil
	case "json":
		return func(w io.Writer, e sandbox.Event) error { return writeJSON(w, []eventRow{rowOf(e)}) }, nil
	}
	t, err := parseTemplate(f.format)
	if err != nil {
		return nil, err
	}
	t.Option("missingkey=zero") // attributes differ
	if err := t.Execute(io.Discard, eventRow{}); err != nil {
		return nil, badField(err, eventRow{})
	}
	return func(w io.Writer, e sandbox.Event) error { return writeEvent(w, t, e) }, nil
}

func writeEvent(w io.Writer, t *template.Template, e sandbox.Event) error {
	var line bytes.Buffer
	if err := t.Execute(&line, rowOf(e)); err != nil {
		return badField(err, eventRow{})
	}
	line.WriteByte('\n')
	return show(w, line.Bytes())
}

// describeEvent is Docker's line: time, type, action, id, and the attributes by their names.
func describeEvent(e sandbox.Event) string {
	var attributes []string
	for name, value := range e.Attributes {
		attributes = append(attributes, printable(name+"="+value))
	}
	slices.Sort(attributes)
	line := fmt.Sprintf("%s %s %s %s", e.Time.Local().Format(logTime), e.Type, printable(e.Action), printable(e.ID))
	if len(attributes) > 0 {
		line += " (" + strings.Join(attributes, ", ") + ")"
	}
	return line
}
