package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/bivouac-run/bivouac/rootfs"
)

// plannedMount is a --mount of RUN whose options are checked.
type plannedMount struct {
	key  mountKey
	from origin
}

// planMounts reads the mounts of a RUN, and what they show.
func (b *builder) planMounts(ctx context.Context, st *state, c *command, parsed *instructions.RunCommand) (all []*plannedMount, err error) {
	agents := 0
	for i, m := range instructions.GetMounts(parsed) {
		p := &plannedMount{from: c.from[i]}
		p.key = mountKey{Kind: MountKind(m.Type), Target: m.Target, Source: path.Join("/", m.Source), ID: m.CacheID, ReadOnly: m.ReadOnly,
			Required: m.Required, Size: m.SizeLimit, Sharing: string(m.CacheSharing), Mode: m.Mode, UID: m.UID, GID: m.GID}
		switch p.key.Kind {
		case MountSecret:
			p.secret(m)
		case MountSSH:
			p.agent(&agents)
		case MountCache:
			if p.key.ID == "" {
				p.key.ID = path.Clean(m.Target)
			}
			if m.From == "" {
				p.from = origin{}
			}
			err = b.planContent(ctx, p)
		case MountBind:
			err = b.planContent(ctx, p)
		}
		if err == nil {
			err = p.place(st)
		}
		if err != nil {
			return nil, fmt.Errorf("--mount=type=%s,target=%s: %w", m.Type, m.Target, err)
		}
		all = append(all, p)
	}
	return all, nil
}

// secret fills in the defaults of type=secret: its source is an id, and its target a file of that name.
func (p *plannedMount) secret(m *instructions.Mount) {
	if m.Source != "" {
		p.key.ID = m.Source
	}
	if p.key.ID == "" {
		p.key.ID = path.Base(m.Target)
	}
	p.key.Source = ""
	if m.Env != nil {
		p.key.Env = *m.Env
		if p.key.Env == "" {
			p.key.Env = p.key.ID
		}
	}
	if p.key.Target == "" && p.key.Env == "" {
		p.key.Target = "/run/secrets/" + path.Base(p.key.ID)
	}
}

// agent fills in the defaults of type=ssh.
func (p *plannedMount) agent(n *int) {
	if p.key.ID == "" {
		p.key.ID = "default"
	}
	if p.key.Target == "" {
		p.key.Target = fmt.Sprintf("/run/buildkit/ssh_agent.%d", *n)
	}
	p.key.Source = ""
	*n++
}

// place makes the target absolute.
func (p *plannedMount) place(st *state) error {
	if p.key.Target == "" {
		if p.key.Kind == MountSecret {
			return nil
		}
		return errors.New("it needs a target")
	}
	if p.key.Target = strings.TrimSuffix(st.absolute(path.Clean(p.key.Target)), "/"); p.key.Target == "" || p.key.Target == "/" {
		return errors.New("the root cannot be mounted over")
	}
	return nil
}

// planContent notes a digest of what is shown: of a context's files what they are, of layers which they are.
func (b *builder) planContent(ctx context.Context, p *plannedMount) error {
	if p.from.files != nil {
		sum, _, err := b.describe(ctx, p.from, p.selection())
		p.key.Content = sum
		return err
	}
	_, chain, err := b.chainOf(ctx, p.from)
	for _, id := range chain {
		p.key.Content += id.String() + " "
	}
	return err
}

// selection is what a bind of a context shows.
func (p *plannedMount) selection() *selection {
	return &selection{Patterns: []string{escapeMeta(strings.TrimPrefix(p.key.Source, "/"))}}
}

// releases are what is to be undone after a RUN, the last first.
type releases []func() error

func (r *releases) add(undo func() error) { *r = append(*r, undo) }

func (r *releases) run() {
	for _, undo := range slices.Backward(*r) {
		_ = undo() // what cannot be unmounted goes with the process
	}
}

// readyMounts makes what is mounted be there. Release is to be called when the program has ended.
func (b *builder) readyMounts(ctx context.Context, plans []*plannedMount) (mounts []Mount, release func(), err error) {
	undo := &releases{}
	defer func() {
		if err != nil {
			undo.run()
		}
	}()
	order := slices.Clone(plans) // locks are taken in one order by all
	slices.SortStableFunc(order, func(x, y *plannedMount) int { return strings.Compare(x.key.ID, y.key.ID) })
	ready := map[*plannedMount]*Mount{}
	for _, p := range order {
		if ready[p], err = b.ready(ctx, p, undo); err != nil {
			return nil, nil, err
		}
	}
	for _, p := range plans {
		if ready[p] != nil {
			mounts = append(mounts, *ready[p])
		}
	}
	return mounts, undo.run, nil
}

// ready is nil for a secret or an agent that is not there and need not be.
func (b *builder) ready(ctx context.Context, p *plannedMount, undo *releases) (*Mount, error) {
	m := &Mount{Kind: p.key.Kind, Target: p.key.Target, ReadOnly: p.key.ReadOnly, Size: p.key.Size, ID: p.key.ID, Env: p.key.Env}
	var err error
	switch m.Kind {
	case MountSecret:
		return b.readySecret(p, m)
	case MountSSH:
		return b.readyAgent(p, m)
	case MountCache:
		m.Source, err = b.cacheDir(ctx, p, undo)
	case MountBind:
		m.Source, err = b.bound(ctx, p, undo)
	}
	return m, err
}

func (p *plannedMount) describeFile(m *Mount, mode uint64) {
	m.Mode = fs.FileMode(or(p.key.Mode, mode)) & fs.ModePerm
	m.UID, m.GID = uint32(or(p.key.UID, 0)), uint32(or(p.key.GID, 0))
}

func or(value *uint64, other uint64) uint64 {
	if value != nil {
		return *value
	}
	return other
}

// Permissions of secrets' files and agents' sockets, unless a mount says otherwise.
const (
	secretMode = 0o400
	agentMode  = 0o600
)

func (b *builder) readySecret(p *plannedMount, m *Mount) (*Mount, error) {
	value, ok := b.spec.Secrets[m.ID]
	if !ok && p.key.Required {
		return nil, &rootfs.Error{Code: rootfs.NotFound, Err: fmt.Errorf("secret %q is required and was not given", m.ID),
			Remedy: "give it with --secret id=" + m.ID + ",src=FILE"}
	}
	if !ok {
		return nil, nil
	}
	p.describeFile(m, secretMode)
	m.Value = value
	return m, nil
}

func (b *builder) readyAgent(p *plannedMount, m *Mount) (*Mount, error) {
	socket, ok := b.spec.SSH[m.ID]
	if !ok && p.key.Required {
		return nil, &rootfs.Error{Code: rootfs.NotFound, Err: fmt.Errorf("SSH agent %q is required and was not given", m.ID),
			Remedy: "give it with --ssh " + m.ID}
	}
	if !ok {
		return nil, nil
	}
	p.describeFile(m, agentMode)
	m.Socket = socket
	return m, nil
}
