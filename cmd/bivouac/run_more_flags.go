package main

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/docker/cli/pkg/kvfile"
	"github.com/spf13/pflag"

	"github.com/bivouac-run/bivouac/sandbox"
)

// moreFlags are flags of run that set one thing each.
type moreFlags struct {
	hosts, groups, expose, labelFiles, volumesFrom []string
	shmSize, cidFile                               string
	attach                                         []string
	sigProxy                                       bool
}

func (f *moreFlags) register(s *pflag.FlagSet) {
	s.StringArrayVar(&f.hosts, "add-host", nil, "add `NAME:ADDRESS` to the container's /etc/hosts")
	s.StringArrayVar(&f.groups, "group-add", nil, "add a `GROUP` of the image, or a number, to the user's")
	s.StringArrayVar(&f.expose, "expose", nil, "expose a `PORT`, as PORT[-LAST][/tcp|udp], which -P then publishes")
	s.StringArrayVar(&f.labelFiles, "label-file", nil, "read labels from `FILE`, one on each line")
	s.StringArrayVar(&f.volumesFrom, "volumes-from", nil, "mount the volumes and bind mounts of `CONTAINER[:ro]`")
	s.StringVar(&f.shmSize, "shm-size", "", "`SIZE` of /dev/shm (default 64m)")
	s.StringVar(&f.cidFile, "cidfile", "", "write the container's id to `FILE`, which must not be there yet")
	s.StringArrayVarP(&f.attach, "attach", "a", nil, "connect only with `STREAM`: stdin, stdout or stderr (default the outputs, and with -i the input)")
	s.BoolVar(&f.sigProxy, "sig-proxy", true, "pass signals on to the program")
}

func (f *moreFlags) set(s *sandbox.Spec) (err error) {
	s.GroupAdd, s.VolumesFrom = f.groups, f.volumesFrom
	if s.ShmSize, err = size("--shm-size", f.shmSize); err != nil {
		return err
	}
	for _, text := range f.hosts {
		host, err := parseHost(text)
		if err != nil {
			return fmt.Errorf("--add-host %q: %w", text, err)
		}
		s.ExtraHosts = append(s.ExtraHosts, host)
	}
	for _, text := range f.expose {
		port, err := parseExpose(text)
		if err != nil {
			return err
		}
		s.Expose = append(s.Expose, port)
	}
	for _, stream := range f.attach {
		if err := oneOf("--attach", strings.ToLower(stream), "stdin", "stdout", "stderr"); err != nil {
			return err
		}
	}
	return f.readLabels(s)
}

// readLabels reads files for what no --label gives.
func (f *moreFlags) readLabels(s *sandbox.Spec) error {
	for _, file := range f.labelFiles {
		lines, err := kvfile.Parse(file, nil)
		if err != nil {
			return fmt.Errorf("--label-file: %w", err)
		}
		for _, line := range lines {
			name, value, _ := strings.Cut(line, "=")
			if s.Labels == nil {
				s.Labels = map[string]string{}
			}
			if _, given := s.Labels[name]; !given {
				s.Labels[name] = value
			}
		}
	}
	return nil
}

// parseHost reads NAME:ADDRESS or NAME=ADDRESS.
func parseHost(text string) (string, error) {
	i := strings.IndexAny(text, ":=")
	if i <= 0 || strings.ContainsAny(text[:i], " \t\n#") {
		return "", fmt.Errorf("needs NAME:ADDRESS")
	}
	name, address := text[:i], strings.Trim(text[i+1:], "[]")
	if address == "host-gateway" {
		return "", fmt.Errorf("there is no bridge with a gateway; use --network host, where the machine is 127.0.0.1")
	}
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return "", fmt.Errorf("%q is no IP address", address)
	}
	return name + ":" + ip.String(), nil
}

// parseExpose returns PORT[-LAST]/PROTOCOL.
func parseExpose(text string) (string, error) {
	r, ok := parsePortRange(strings.ToLower(text))
	if !ok || r.first == 0 || !slices.Contains([]string{"tcp", "udp"}, r.protocol) {
		return "", fmt.Errorf("--expose %q: needs PORT, PORT-LAST or PORT/udp", text)
	}
	if r.first == r.last {
		return fmt.Sprintf("%d/%s", r.first, r.protocol), nil
	}
	return fmt.Sprintf("%d-%d/%s", r.first, r.last, r.protocol), nil
}

// attaches tells whether a stream is to be connected with ours: all that there are, unless --attach names some.
func (f *moreFlags) attaches(stream string) bool {
	return len(f.attach) == 0 || slices.ContainsFunc(f.attach, func(a string) bool { return strings.EqualFold(a, stream) })
}

// idFile is what --cidfile names, nil without.
type idFile struct{ file *os.File }

// openIDFile makes the file, so that nothing is started where that fails.
func (f *moreFlags) openIDFile() (*idFile, error) {
	if f.cidFile == "" {
		return nil, nil
	}
	file, err := os.OpenFile(f.cidFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if os.IsExist(err) {
		return nil, fmt.Errorf("--cidfile: %s is there already; another container may be using it, otherwise remove it", f.cidFile)
	}
	if err != nil {
		return nil, fmt.Errorf("--cidfile: %w", err)
	}
	return &idFile{file}, nil
}

// write writes the id down.
func (f *idFile) write(id string) error {
	if f == nil {
		return nil
	}
	_, err := f.file.WriteString(id)
	if err != nil {
		return fmt.Errorf("--cidfile: %w", err)
	}
	return nil
}

// close removes the file where no id was written.
func (f *idFile) close() {
	if f == nil {
		return
	}
	if st, err := f.file.Stat(); err == nil && st.Size() == 0 {
		_ = os.Remove(f.file.Name()) // it is empty, and nobody was promised it
	}
	_ = f.file.Close() // what was written is there: a write to a file of a few bytes has nothing left to fail
}
