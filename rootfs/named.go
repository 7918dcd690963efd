package rootfs

import (
	"errors"
	"strings"

	"github.com/opencontainers/go-digest"
)

// The grammar of names is github.com/distribution/reference's, which tests compare with. That package compiles its
// regular expressions when a program starts, 0.5 ms each time, and a run starts this program several times.

const (
	defaultDomain = "docker.io"
	legacyDomain  = "index.docker.io"
	officialPath  = "library/"
	defaultTag    = "latest"
	maxPathLength = 255
	maxTagLength  = 128
)

// splitName reads [DOMAIN/]PATH[:TAG][@DIGEST]. What comes before the first slash is a domain if it looks like one.
func splitName(s string) (r Reference, err error) {
	r.Transport = Registry
	if isHex(s) && len(s) == 64 {
		return r, errors.New("that is an image id, not a name")
	}
	rest := s
	if rest, r.Digest, err = cutDigest(rest); err != nil {
		return r, err
	}
	r.Domain, rest = cutDomain(rest)
	r.Short = r.Domain == ""
	r.Repository, r.Tag, _ = strings.Cut(rest, ":")
	if strings.HasSuffix(rest, ":") || r.Tag != "" && !isTag(r.Tag) {
		return r, errors.New("bad tag: it takes letters, digits, _ . and -")
	}
	return r.normalized()
}

// normalized fills in Docker's defaults and checks the rest.
func (r Reference) normalized() (Reference, error) {
	if r.Short || r.Domain == legacyDomain {
		r.Domain = defaultDomain
	}
	if r.Domain == defaultDomain && !strings.Contains(r.Repository, "/") {
		r.Repository = officialPath + r.Repository
	}
	if r.Tag == "" && r.Digest == "" {
		r.Tag = defaultTag
	}
	switch {
	case !isDomain(r.Domain):
		return r, errors.New("bad registry: it must be a host with an optional port")
	case strings.ToLower(r.Repository) != r.Repository:
		return r, errors.New("names of repositories are in lower case")
	case !isPath(r.Repository):
		return r, errors.New("bad name: it takes lower case letters and digits, separated by . _ __ - or /")
	case len(r.Repository) > maxPathLength:
		return r, errors.New("the name is too long")
	}
	return r, nil
}

func cutDigest(s string) (rest string, d digest.Digest, err error) {
	rest, suffix, found := strings.Cut(s, "@")
	if !found {
		return s, "", nil
	}
	d, err = digest.Parse(suffix)
	return rest, d, err
}

// cutDomain returns no domain for names of the default registry without it.
func cutDomain(s string) (domain, rest string) {
	domain, rest, found := strings.Cut(s, "/")
	if found && (domain == "localhost" || strings.ContainsAny(domain, ".:") || strings.ToLower(domain) != domain) {
		return domain, rest
	}
	return "", s
}

func isDomain(s string) bool {
	host := s
	if i := strings.LastIndex(s, ":"); i >= 0 && !strings.HasSuffix(s, "]") {
		if port := s[i+1:]; port == "" || strings.Trim(port, "0123456789") != "" {
			return false
		}
		host = s[:i]
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		return ok && inner != "" && onlyOf(inner, isHexByte, ":")
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' || !onlyOf(label, isAlnum, "-") {
			return false
		}
	}
	return true
}

func isPath(s string) bool {
	for part := range strings.SplitSeq(s, "/") {
		if !isPathPart(part) {
			return false
		}
	}
	return true
}

// isPathPart allows one . or _, two _, or any number of - between letters and digits.
func isPathPart(s string) bool {
	if s == "" || !isLowerAlnum(s[0]) || !isLowerAlnum(s[len(s)-1]) {
		return false
	}
	for i := 0; i < len(s); {
		end := i
		for end < len(s) && !isLowerAlnum(s[end]) {
			end++
		}
		if gap := s[i:end]; gap != "" && gap != "." && gap != "_" && gap != "__" && strings.Trim(gap, "-") != "" {
			return false
		}
		i = end + 1
	}
	return true
}

func isTag(s string) bool {
	return len(s) <= maxTagLength && s[0] != '.' && s[0] != '-' && onlyOf(s, isAlnum, "_.-")
}

func onlyOf(s string, class func(byte) bool, more string) bool {
	for i := range len(s) {
		if !class(s[i]) && strings.IndexByte(more, s[i]) < 0 {
			return false
		}
	}
	return true
}

func isLowerAlnum(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

func isAlnum(c byte) bool { return isLowerAlnum(c) || 'A' <= c && c <= 'Z' }

func isHexByte(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f' }

func isHex(s string) bool { return onlyOf(s, isHexByte, "") && strings.ToLower(s) == s }
