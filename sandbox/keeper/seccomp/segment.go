package seccomp

// verdict answers a call: the action of the first rule that matches, or else the last resort.
type verdict struct {
	rules  []rule
	resort action
}

// judge makes a call's rules into its verdict.
func (p *policy) judge(rules []rule) verdict {
	for _, r := range rules {
		if len(r.conditions) == 0 {
			return verdict{resort: r.action}
		}
	}
	return verdict{rules, p.byDefault}
}

// segment is a range of syscall numbers with one verdict; it ends where the next one starts.
type segment struct {
	from    uint32
	verdict verdict
}

// segments divides all 2^32 numbers.
func (p *policy) segments() []segment {
	segments := []segment{{0, verdict{resort: p.unlisted(0)}}}
	for number, rules := range p.calls {
		segments = p.appendNewest(segments, number)
		segments = appendSegment(segments, segment{number, p.judge(rules)})
		segments = appendSegment(segments, segment{number + 1, verdict{resort: p.unlisted(number + 1)}})
	}
	segments = p.appendNewest(segments, ^uint32(0))
	if p.arch.x32 {
		segments = appendSegment(segments, segment{x32Bit, verdict{resort: actionNoSys}})
	}
	return segments
}

// appendNewest starts the range of unknown numbers if it lies before the next call.
func (p *policy) appendNewest(segments []segment, next uint32) []segment {
	after := p.newest + 1
	if next <= after || segments[len(segments)-1].from >= after {
		return segments
	}
	return appendSegment(segments, segment{after, verdict{resort: p.unlisted(after)}})
}

// appendSegment replaces a segment that would be empty, and extends one with the same verdict.
func appendSegment(segments []segment, s segment) []segment {
	if last := len(segments) - 1; segments[last].from == s.from {
		segments = segments[:last]
	}
	if last := len(segments) - 1; last >= 0 && segments[last].verdict.same(s.verdict) {
		return segments
	}
	return append(segments, s)
}

// same is only sure of verdicts without rules.
func (v verdict) same(other verdict) bool {
	return len(v.rules) == 0 && len(other.rules) == 0 && v.resort == other.resort
}
