package build

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/buildkit/util/suggest"
)

// stage is one FROM with its instructions.
type stage struct {
	instructions.Stage
	index    int
	platform string // os/architecture[/variant]
	base     origin // what FROM names; the zero value is scratch
	commands []*command
	needed   bool
	noCache  bool
	opened   bool          // the base's ONBUILD triggers are among the commands
	result   *state        // once done is closed, and err is nil
	err      error         // of who built it
	done     chan struct{} // closed when the stage was built or failed
}

// command is an instruction of a stage.
type command struct {
	instructions.Command
	onbuild bool
	from    []origin // of COPY --from one, of RUN one for each mount
	step    *step    // nil for those that change nothing but the configuration
}

// readStages expands what FROM says.
func (b *builder) readStages() error {
	for i, parsed := range b.file.stages {
		s := &stage{Stage: parsed, index: i, done: make(chan struct{})}
		if err := b.expandFrom(s); err != nil {
			return b.file.wrong(err, parsed.Location)
		}
		for _, c := range parsed.Commands {
			s.commands = append(s.commands, &command{Command: c})
		}
		s.noCache = b.spec.NoCache || slices.ContainsFunc(b.spec.NoCacheStages, s.isCalled)
		b.stages = append(b.stages, s)
	}
	for _, name := range b.spec.NoCacheStages {
		if !slices.ContainsFunc(b.stages, func(s *stage) bool { return s.isCalled(name) }) {
			return b.file.wrong(b.unknownStage("stage %q, which is not to be cached,", name), nil)
		}
	}
	return nil
}

func (s *stage) isCalled(name string) bool {
	return s.Name != "" && strings.EqualFold(s.Name, name) || strconv.Itoa(s.index) == name
}

func (b *builder) expandFrom(s *stage) (err error) {
	lex := shell.NewLex(b.file.escape)
	if s.BaseName, _, err = lex.ProcessWord(s.BaseName, b.global); err != nil {
		return err
	}
	if s.BaseName == "" {
		return errors.New("base name should not be blank: an ARG before the first FROM gives it a value")
	}
	s.platform = platforms.FormatAll(b.platform)
	if s.Platform == "" {
		return nil
	}
	expanded, _, err := lex.ProcessWord(s.Platform, b.global)
	if err != nil {
		return err
	}
	p, err := platforms.Parse(expanded)
	if err != nil || expanded == "" {
		return fmt.Errorf("read platform %q: write os/architecture[/variant]", expanded)
	}
	s.platform = platforms.FormatAll(p)
	return nil
}

func (b *builder) target() (*stage, error) {
	if b.spec.Target == "" {
		return b.stages[len(b.stages)-1], nil
	}
	for _, s := range slices.Backward(b.stages) { // of two with one name the later one, as for --from
		if s.isCalled(b.spec.Target) {
			return s, nil
		}
	}
	return nil, b.file.wrong(b.unknownStage("target stage %q", b.spec.Target), nil)
}

func (b *builder) unknownStage(what, name string) error {
	var names []string
	for _, s := range b.stages {
		if s.Name != "" {
			names = append(names, s.Name)
		}
	}
	return suggest.WrapError(fmt.Errorf(what+" could not be found", name), name, names, true)
}

// need marks a stage and all that it is made from. Stages name earlier ones only, so that this ends.
func (b *builder) need(s *stage) error {
	if s.needed {
		return nil
	}
	s.needed = true
	var err error
	if s.base, err = b.baseOf(s); err != nil {
		return b.file.wrong(err, s.Location)
	}
	if err := b.needOrigin(s.base); err != nil {
		return err
	}
	for _, c := range s.commands {
		if err := b.needCommand(s, c); err != nil {
			return b.file.wrong(err, c.Location())
		}
	}
	return nil
}

func (b *builder) needOrigin(o origin) error {
	if o.stage == nil {
		return nil
	}
	return b.need(o.stage)
}

// needCommand finds out where an instruction takes files from.
func (b *builder) needCommand(s *stage, c *command) error {
	var names []string
	switch parsed := c.Command.(type) {
	case *instructions.CopyCommand:
		names = []string{parsed.From}
	case *instructions.RunCommand:
		for _, m := range instructions.GetMounts(parsed) {
			names = append(names, m.From)
		}
	}
	for _, name := range names {
		o, err := b.sourceOf(s, name, c.Location())
		if err != nil {
			return err
		}
		if err := b.needOrigin(o); err != nil {
			return err
		}
		c.from = append(c.from, o)
	}
	return nil
}

// number gives each instruction that does something to files its number and name.
func (b *builder) number() {
	for _, s := range b.stages {
		if !s.needed {
			continue
		}
		total, at := s.countSteps(), 0
		if s.base.image != nil {
			at = 1
		}
		for _, c := range s.commands {
			if c.changesFiles() {
				at++
				c.step = b.report.plan(s.prefix(len(b.stages) > 1, at, total) + c.title())
			}
		}
	}
}

func (s *stage) countSteps() (n int) {
	if s.base.image != nil {
		n = 1
	}
	for _, c := range s.commands {
		if c.changesFiles() {
			n++
		}
	}
	return n
}

// prefix is [name 1/5], as BuildKit writes it.
func (s *stage) prefix(several bool, at, total int) string {
	if !several {
		return fmt.Sprintf("[%*d/%d] ", len(strconv.Itoa(total)), at, total)
	}
	return fmt.Sprintf("[%s %*d/%d] ", s.label(), len(strconv.Itoa(total)), at, total)
}

func (s *stage) label() string {
	if s.Name != "" {
		return s.Name
	}
	return fmt.Sprintf("stage-%d", s.index)
}

// changesFiles is true for the instructions that may make a layer.
func (c *command) changesFiles() bool {
	switch c.Command.(type) {
	case *instructions.RunCommand, *instructions.CopyCommand, *instructions.AddCommand, *instructions.WorkdirCommand:
		return true
	}
	return false
}

// title is the instruction on one line.
func (c *command) title() string {
	text := c.Name()
	if s, ok := c.Command.(fmt.Stringer); ok {
		text = s.String()
	}
	name, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	text = printable(strings.ToUpper(name) + " " + strings.ReplaceAll(rest, "\n", " "))
	if c.onbuild {
		text = "ONBUILD " + text
	}
	return text
}
