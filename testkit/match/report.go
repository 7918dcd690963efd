package match

import "context"

// Spec is what [ReportEvidence] needs of a spec. Ginkgo's GinkgoT() has it.
type Spec interface {
	Failed() bool
	AddReportEntryVisibilityFailureOrVerbose(name string, args ...any)
}

// ReportEvidence adds the containers' evidence to the report of a spec that has failed: the command line that reproduces
// each, its state, the end of its log, its processes, ports and changed files. Containers that a spec has started itself are
// reported without it. It is for those that many specs share, while the spec that failed is still the current one:
//
//	AfterEach(func() { match.ReportEvidence(GinkgoT(), server) })
func ReportEvidence(spec Spec, containers ...Container) {
	if !spec.Failed() {
		return
	}
	for _, c := range containers {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		spec.AddReportEntryVisibilityFailureOrVerbose("container "+printable(c.String()), printable(c.Evidence(ctx)))
		cancel()
	}
}
