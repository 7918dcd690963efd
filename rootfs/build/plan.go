package build

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/buildkit/util/suggest"

	"github.com/bivouac-run/bivouac/rootfs"
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

// origin is where files come from: exactly one field is set, or none for scratch.
type origin struct {
	stage *stage
	image *baseImage
	files *folder
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

// baseOf is what FROM means: a context, an earlier stage, scratch, an image.
func (b *builder) baseOf(s *stage) (origin, error) {
	o, err := b.baseOrigin(s)
	if o.image != nil && o.image.stage == nil {
		o.image.stage = s
	}
	return o, err
}

func (b *builder) baseOrigin(s *stage) (origin, error) {
	if value, ok := b.spec.Contexts[s.BaseName]; ok {
		o, err := b.contextOrigin(s, s.BaseName, value, s.Location)
		if err == nil && o.files != nil {
			err = fmt.Errorf("context %q is a directory: FROM needs an image, as docker-image://REFERENCE", s.BaseName)
		}
		return o, err
	}
	if earlier := b.earlier(s, s.BaseName); earlier != nil {
		return origin{stage: earlier}, nil
	}
	if s.BaseName == "scratch" {
		return origin{}, nil
	}
	return b.imageOrigin(s.BaseName, s.platform, s.Location)
}

// earlier is the last stage of the name before s.
func (b *builder) earlier(s *stage, name string) *stage {
	for _, other := range slices.Backward(b.stages[:s.index]) {
		if other.Name != "" && strings.EqualFold(other.Name, name) {
			return other
		}
	}
	return nil
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

// sourceOf is what --from means; an empty name is the context.
func (b *builder) sourceOf(s *stage, name string, at []parser.Range) (origin, error) {
	if name == "" {
		return origin{files: b.context}, nil
	}
	if strings.ContainsRune(name, '$') {
		return origin{}, errors.New("variable expansion is not supported for --from: " +
			"give the image a stage of its own, FROM with an ARG from before the first FROM")
	}
	if value, ok := b.spec.Contexts[name]; ok {
		return b.contextOrigin(s, name, value, at)
	}
	if n, err := strconv.Atoi(name); err == nil {
		if n < 0 || n >= s.index {
			return origin{}, fmt.Errorf("invalid stage index %d: this is stage %d, and only those before it can be named", n, s.index)
		}
		return origin{stage: b.stages[n]}, nil
	}
	if earlier := b.earlier(s, name); earlier != nil {
		return origin{stage: earlier}, nil
	}
	if slices.ContainsFunc(b.stages[s.index:], func(later *stage) bool { return strings.EqualFold(later.Name, name) }) {
		return origin{}, fmt.Errorf("cannot copy from stage %q: it needs to be defined before this one", name)
	}
	if name == "scratch" {
		return origin{}, nil
	}
	return b.imageOrigin(name, s.platform, at)
}

// contextOrigin is one of the named contexts.
func (b *builder) contextOrigin(s *stage, name, value string, at []parser.Range) (origin, error) {
	if ref, ok := strings.CutPrefix(value, "docker-image://"); ok {
		return b.imageOrigin(ref, s.platform, at)
	}
	if strings.HasPrefix(value, "/") {
		files, err := b.namedContext(name, value)
		return origin{files: files}, err
	}
	if earlier := b.earlier(s, value); earlier != nil {
		return origin{stage: earlier}, nil
	}
	return origin{}, fmt.Errorf("context %q: %q is no absolute path, no docker-image://REFERENCE and no earlier stage", name, value)
}

// imageOrigin is an image, which is pulled with others later.
func (b *builder) imageOrigin(ref, platform string, at []parser.Range) (origin, error) {
	if _, err := rootfs.ParseReference(ref); err != nil {
		return origin{}, err
	}
	for _, known := range b.images {
		if known.ref == ref && known.platform == platform {
			return origin{image: known}, nil
		}
	}
	image := &baseImage{ref: ref, platform: platform, at: at}
	b.images = append(b.images, image)
	b.toPull = append(b.toPull, image)
	return origin{image: image}, nil
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
