package testkit

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/bivouac-run/bivouac/sandbox"
)

// BuildOption says something about an image that is to be built.
type BuildOption func(*sandbox.BuildSpec)

// BuildArg sets a build argument, which an ARG of the Dockerfile names.
func BuildArg(name, value string) BuildOption {
	return func(s *sandbox.BuildSpec) {
		if s.Args == nil {
			s.Args = map[string]string{}
		}
		s.Args[name] = value
	}
}

// Target builds the stage of that name, or number, instead of the last one.
func Target(stage string) BuildOption { return func(s *sandbox.BuildSpec) { s.Target = stage } }

// Dockerfile names the file in the directory that is built. The default is Dockerfile.
func Dockerfile(path string) BuildOption {
	return func(s *sandbox.BuildSpec) { s.Dockerfile = path }
}

// DockerfileText is the Dockerfile itself, which then is not looked for in the directory.
func DockerfileText(text string) BuildOption { return func(s *sandbox.BuildSpec) { s.Text = text } }

// Secret gives RUN --mount=type=secret,id=ID something to mount. It gets into no layer and no log.
func Secret(id string, value []byte) BuildOption {
	return func(s *sandbox.BuildSpec) { s.Secrets = append(s.Secrets, sandbox.BuildSecret{ID: id, Value: value}) }
}

// BuildSpec changes what no other option does. It sees what the options before it have said.
func BuildSpec(change func(*sandbox.BuildSpec)) BuildOption { return change }

// Build builds the image of the Dockerfile in a directory, which is relative to the test's package, and returns its id, as
// [Start] and its like take it. Steps that any build of this user has done before, in another test or package, are not done
// again as long as what they depend on is the same.
//
// A build that fails fails the test with the lines of the Dockerfile and the end of the step's output, which otherwise are not
// shown. A machine that cannot run containers skips the test as Start does.
func Build(tb TB, dir string, opts ...BuildOption) string {
	tb.Helper()
	ctx, cancel := limited(tb)
	defer cancel()
	id, err := BuildContext(ctx, dir, opts...)
	if err != nil {
		giveUp(tb, err)
	}
	return id
}

// BuildContext is [Build] for programs that are no tests.
//
// Errors: [*BuildError] around one of package sandbox, with a [sandbox.Code]: CodeBuild for a RUN that failed, CodeInvalid for
// a Dockerfile that cannot be read, CodeNotFound for a base image that is not there. errors.Is(err, errors.ErrUnsupported) on a
// machine that cannot run it.
func BuildContext(ctx context.Context, dir string, opts ...BuildOption) (string, error) {
	return buildImage(ctx, shared, dir, opts)
}

func buildImage(ctx context.Context, k *keeper, dir string, opts []BuildOption) (string, error) {
	spec, err := buildSpec(dir, opts)
	if err != nil {
		return "", err
	}
	var info sandbox.ImageInfo
	log := &buildLog{names: map[int]string{}, lines: map[int][]byte{}}
	err = k.do(ctx, func(e engine) error {
		log.reset()
		info, err = e.Build(ctx, spec, log.event)
		return err
	})
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return "", &BuildError{Dir: dir, Output: log.failed(), Err: err, command: reproduceBuild(dir, &spec)}
	}
	return info.ID, nil
}

// buildSpec makes a specification of options. Programs reach the machine's network, as those of docker build do.
func buildSpec(dir string, opts []BuildOption) (sandbox.BuildSpec, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return sandbox.BuildSpec{}, fmt.Errorf("build %s: %w", dir, err)
	}
	spec := sandbox.BuildSpec{Context: path, Network: sandbox.NetworkHost}
	for _, o := range opts {
		if o != nil {
			o(&spec)
		}
	}
	return spec, nil
}

// BuildError says why an image could not be built.
type BuildError struct {
	// Dir is the directory, as it was given.
	Dir string
	// Output is what the step that failed wrote last; empty where none has failed.
	Output string
	// Err is why.
	Err     error
	command string
}

// Error returns what failed in several lines: why, the lines of the Dockerfile, the output, and how to do it by hand.
func (e *BuildError) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "build %s: %v\n", e.Dir, e.Err)
	var detail *sandbox.Error
	if errors.As(e.Err, &detail) && detail.Detail != "" {
		text.WriteString(indent(strings.TrimRight(detail.Detail, "\n")) + "\n")
	}
	if e.Output != "" {
		text.WriteString("the end of its output:\n" + indent(e.Output) + "\n")
	}
	text.WriteString("reproduce: " + e.command)
	return text.String()
}

// Unwrap returns why.
func (e *BuildError) Unwrap() error { return e.Err }

// reproduceBuild returns the command line that builds the same by hand.
func reproduceBuild(dir string, s *sandbox.BuildSpec) string {
	args := []string{"bivouac", "build", "--progress", "plain"}
	args = append(args, flag("--target", s.Target)...)
	if s.Dockerfile != "" {
		args = append(args, "-f", filepath.Join(dir, s.Dockerfile))
	}
	for _, name := range sortedKeys(s.Args) {
		args = append(args, "--build-arg", name+"="+s.Args[name])
	}
	for _, secret := range s.Secrets {
		args = append(args, "--secret", "id="+secret.ID+",src=...")
	}
	line := shellJoin(append(args, dir))
	if s.Text != "" {
		line += " # with a Dockerfile that the test gives"
	}
	return line
}

// buildLog keeps the end of each step's output until the step has ended well.
type buildLog struct {
	names map[int]string
	lines map[int][]byte
	last  int // the step that has failed, 0 for none
}

func (l *buildLog) reset() { l.last = 0; clear(l.names); clear(l.lines) }

func (l *buildLog) event(e sandbox.BuildEvent) {
	switch e.Kind {
	case "start":
		l.names[e.Step] = e.Name
	case "log":
		text := append(l.lines[e.Step], e.Text...)
		l.lines[e.Step] = text[max(0, len(text)-logSize):]
	case "cached", "done":
		delete(l.lines, e.Step)
	case "failed":
		l.last = e.Step
	}
}

// failed returns the name and the last lines of the step that failed.
func (l *buildLog) failed() string {
	if l.last == 0 {
		return ""
	}
	return strings.TrimSpace(l.names[l.last] + "\n" + lastLines(l.lines[l.last], evidenceLines))
}
