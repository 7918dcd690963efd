package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bivouac-run/bivouac/rootfs"
)

// format is the version of the store's files. Whoever meets another one keeps its hands off.
const format = 1

// maxRecord bounds what is read into memory of a file that somebody may have edited.
const maxRecord = 64 << 20

// Names in a snapshot's directory.
const (
	recordName  = "snapshot.json"
	recordDraft = "snapshot.json.tmp"
	usedName    = "used"
	detailName  = "detail"
	imagesName  = "images"
	treesName   = "trees"
)

// outside are the names in a snapshot's directory that its seal leaves out.
var outside = []string{recordName, recordDraft, usedName}

// record is what snapshot.json holds.
type record struct {
	Meta      Meta    `json:"meta"`
	Published int64   `json:"published"` // when it was listed, in nanoseconds since 1970: of two with one name, the later has it
	Layers    []layer `json:"layers"`    // lowest first
	Own       sealed  `json:"own"`       // the directory that the record lies in
	Detail    string  `json:"detail"`    // digest of the file
}

// layer is a directory of changed files.
type layer struct {
	sealed
	ID string `json:"id"`
	// Store is the directory of the store that has it, if that is another one.
	Store string `json:"store,omitempty"`
}

// envelope is a record with the digest of its bytes as they are written.
type envelope struct {
	Format int             `json:"format"`
	Digest string          `json:"digest"`
	Record json.RawMessage `json:"record"`
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func (r *record) encode() ([]byte, error) {
	raw, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return json.Marshal(envelope{format, digest(raw), raw})
}

var errFormat = errors.New("another version of bivouac has made it")

func decodeRecord(b []byte) (*record, error) {
	var e envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, err
	}
	if e.Format != format {
		return nil, fmt.Errorf("%w: format %d", errFormat, e.Format)
	}
	if digest(e.Record) != e.Digest {
		return nil, errors.New("it does not fit its digest")
	}
	var r record
	d := json.NewDecoder(bytes.NewReader(e.Record))
	d.DisallowUnknownFields()
	return &r, d.Decode(&r)
}

// readBounded reads a file of at most limit bytes.
func readBounded(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("read %s: larger than %d bytes", name, limit)
	}
	return b, err
}

// load reads the record of a listed snapshot.
//
// Errors: NotFound, Stale.
func (s *Store) load(id string) (*record, error) {
	b, err := readBounded(filepath.Join(s.snapshotDir(id), recordName), maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notFound(id)
	}
	if err != nil { // which may pass, as if no more files can be opened
		return nil, coded(err, "read snapshot %s", short(id))
	}
	r, err := decodeRecord(b)
	if err == nil && r.Meta.ID != id {
		err = fmt.Errorf("it is that of snapshot %s", r.Meta.ID)
	}
	if err != nil {
		return nil, stale(id, fmt.Errorf("read its record: %w", err))
	}
	return r, nil
}

func notFound(ref string) error {
	return fail(rootfs.NotFound, "list them with `bivouac snapshot ls`", "there is no snapshot %q", ref)
}

func stale(id string, err error) error {
	return fail(Stale, "remove it, and make it anew", "snapshot %s cannot be used: %w", short(id), err)
}

func short(id string) string { return id[:min(12, len(id))] }

// write lists the record, or replaces it. The caller has the store's lock.
func (s *Store) write(r *record) error {
	b, err := r.encode()
	if err != nil {
		return err
	}
	dir := s.snapshotDir(r.Meta.ID)
	draft := filepath.Join(dir, recordDraft)
	if err := os.WriteFile(draft, b, 0o600); err != nil {
		return err
	}
	step("record written")
	if err := os.Rename(draft, filepath.Join(dir, recordName)); err != nil {
		return err
	}
	step("record named")
	return nil
}

// all reads the records of all listed snapshots. Damaged ones are told apart from those of which nothing can be known, as
// they have another format.
func (s *Store) all() (records []*record, damaged []string, unknown bool, err error) {
	ids, err := s.entries("by-id")
	if err != nil {
		return nil, nil, true, err
	}
	for _, id := range ids {
		r, err := s.load(id)
		switch {
		case err == nil:
			records = append(records, r)
		case errors.Is(err, rootfs.NotFound): // a draft, or just removed
		case errors.Is(err, Stale) && !errors.Is(err, errFormat):
			damaged = append(damaged, id)
		default:
			unknown = true
		}
	}
	return records, damaged, unknown, nil
}

// entries lists the names in a directory of the store.
func (s *Store) entries(name string) ([]string, error) {
	dir, err := os.Open(filepath.Join(s.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Readdirnames(-1)
}
