package build

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// keyVersion changes with the meaning of keys.
const keyVersion = 1

// stepKey is all that the result of a step depends on. Its JSON is what is hashed.
type stepKey struct {
	Version  int
	Below    []digest.Digest `json:",omitempty"` // diff IDs; none for COPY --link
	Platform string
	Latest   *int64 `json:",omitempty"` // times of files are cut off there, seconds
	Run      *runKey
	Copy     *copyKey
	Workdir  *workdirKey
	Squash   int // layers of the base that stay
}

// runKey is RUN.
type runKey struct {
	Args    []string
	Env     []string
	User    string
	Dir     string
	Network string
	Extra   string // [Spec.RunKey]
	Mounts  []mountKey
	Script  *heredoc
}

// copyKey is COPY or ADD.
type copyKey struct {
	Dest    string
	Chown   string
	Chmod   string
	Sources []sourceKey
	Parents []parentDir // of COPY --link: directories on the way, as they are below
}

// sourceKey is where files come from, and a digest of them.
type sourceKey struct {
	Select  *selection `json:",omitempty"`
	Sum     string
	Name    string // of a download or a heredoc
	Mode    uint32
	Layers  bool
	Archive bool
}

// workdirKey is WORKDIR.
type workdirKey struct{ Path, User string }

// mountKey is one --mount of RUN. Content is a digest of what a bind or a new cache shows.
type mountKey struct {
	Kind             MountKind
	Target, Source   string
	Content          string
	ID, Sharing, Env string
	ReadOnly         bool
	Required         bool
	Size             int64
	Mode, UID, GID   *uint64
}

func (k *stepKey) String() string {
	content, err := json.Marshal(k)
	if err != nil {
		panic(fmt.Sprintf("bug: %v", err)) // strings and numbers can be encoded
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// key begins the key of a step in a state.
func (b *builder) key(st *state) *stepKey {
	return &stepKey{Version: keyVersion, Below: st.chain, Platform: st.platform, Latest: b.spec.SourceDateEpoch}
}
