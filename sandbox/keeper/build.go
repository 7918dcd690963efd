package keeper

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/rootfs"
	"github.com/bivouac-run/bivouac/rootfs/build"
	"github.com/bivouac-run/bivouac/sandbox"
	"github.com/bivouac-run/bivouac/sandbox/wire"
)

// build builds an image, and tells of each step while it is under way.
func (s *server) build(ctx context.Context, k *keeper, m *wire.Message) outcome {
	var r sandbox.BuildRequest
	if err := m.Decode(&r); err != nil {
		return outcome{err: err}
	}
	b := &imageBuild{k: k, spec: &r.Spec, s: s, id: m.ID, began: time.Now()}
	info, err := b.run(ctx, s.asker(ctx, m.ID))
	if err != nil {
		return outcome{err: buildError(err)}
	}
	return outcome{body: info}
}

// imageBuild is a build under way.
type imageBuild struct {
	k     *keeper
	spec  *sandbox.BuildSpec
	s     *server
	id    uint64 // of the request
	began time.Time
	steps int // that were told of
}

func (b *imageBuild) run(ctx context.Context, a *asker) (sandbox.ImageInfo, error) {
	spec, err := buildSpec(b.spec)
	if err != nil {
		return sandbox.ImageInfo{}, err
	}
	export, err := parseExport(b.spec)
	if err != nil {
		return sandbox.ImageInfo{}, err
	}
	spec.Loose = export.isFiles()
	w := &buildWorker{k: b.k, spec: b.spec, asker: a}
	image, err := build.Run(ctx, b.k.store, spec, w, b.tell)
	if err != nil {
		return sandbox.ImageInfo{}, err
	}
	if err := b.export(ctx, export, image); err != nil {
		return sandbox.ImageInfo{}, err
	}
	if !spec.Loose {
		names := map[string]string{"name": strings.Join(b.spec.Names, ",")}
		b.k.bulletin.emit(sandbox.Event{Type: sandbox.EventImage, Action: "build", ID: image.ID.String(), Attributes: names})
	}
	return imageInfo(image), nil
}

// tell sends an event. A failure to send means that the caller is gone, which ends everything anyway.
func (b *imageBuild) tell(e build.Event) {
	b.steps = max(b.steps, e.Step)
	_ = b.s.conn.Send(b.id, sandbox.KindBuildEvent, sandbox.BuildEvent{
		Step: e.Step, Kind: string(e.Kind), Time: time.Now(), Name: e.Name, Text: e.Text, Stream: e.Stream,
		Current: e.Current, Total: e.Total, Layer: e.Layer,
	})
}

// buildSpec translates a request.
func buildSpec(s *sandbox.BuildSpec) (build.Spec, error) {
	out := build.Spec{
		Context: s.Context, Contexts: s.Contexts, Dockerfile: s.Dockerfile, Text: s.Text, Target: s.Target, Args: s.Args, Labels: s.Labels,
		Platform: s.Platform, Network: string(s.Network), NoCache: s.NoCache, NoCacheStages: s.NoCacheStages,
		CacheFrom: s.CacheFrom, CacheTo: s.CacheTo, Secrets: map[string][]byte{}, SSH: map[string]string{},
		SourceDateEpoch: s.SourceDateEpoch, Squash: s.Squash, RunKey: runKey(s),
	}
	for _, name := range s.Names {
		ref, err := rootfs.ParseReference(name)
		if err != nil {
			return out, err
		}
		out.Names = append(out.Names, ref)
	}
	for _, secret := range s.Secrets {
		out.Secrets[secret.ID] = secret.Value
	}
	for _, agent := range s.SSH {
		out.SSH[firstOf(agent.ID, "default")] = agent.Socket
	}
	switch s.Network {
	case "", sandbox.NetworkHost, sandbox.NetworkNone:
		return out, nil
	}
	return out, sandbox.Errorf(sandbox.CodeInvalid, "build with network %q: no such network", s.Network).WithRemedy("use none or host")
}

// runKey is what besides the Dockerfile a program of RUN can see, so that the cache tells it apart: the hosts that were added.
// Limits decide whether a step ends well, not how.
func runKey(s *sandbox.BuildSpec) string { return strings.Join(s.AddHosts, " ") }

// buildError says of a build's error where in the Dockerfile it arose.
func buildError(err error) error {
	var syntax *build.SyntaxError
	if errors.As(err, &syntax) {
		return &sandbox.Error{Code: sandbox.CodeInvalid, Message: syntax.Error(), Detail: syntax.Excerpt}
	}
	var step *build.StepError
	if !errors.As(err, &step) {
		return err
	}
	e := *toWire(step.Err)
	var exit *build.ExitError
	switch {
	case errors.As(step.Err, &exit):
		e = sandbox.Error{Code: sandbox.CodeBuild, Message: step.Err.Error()}
	case e.Code == sandbox.CodeInternal && (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)):
		e.Code, e.Remedy = sandbox.CodeNoSpace, "make room there, or set BIVOUAC_HOME to a directory on a larger file system"
	case e.Code == sandbox.CodeInternal: // such as a COPY of what cannot be copied
		e.Code = sandbox.CodeBuild
	}
	e.Message = (&build.StepError{File: step.File, Line: step.Line, Err: errors.New(e.Message)}).Error()
	e.Detail = step.Excerpt
	return &e
}
