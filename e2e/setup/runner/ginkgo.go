package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// specPrefix begins the name of a result that is a Ginkgo spec.
const specPrefix = "Spec/"

// A ginkgoReport is the part that matters here of an entry in what --ginkgo.json-report writes.
type ginkgoReport struct{ SpecReports []ginkgoSpec }

type ginkgoSpec struct {
	ContainerHierarchyTexts []string
	LeafNodeType            string
	LeafNodeText            string
	State                   string
	Failure                 struct {
		Message  string
		Location struct {
			FileName   string
			LineNumber int
		}
	}
	CapturedGinkgoWriterOutput string
}

// readSpecs returns the results of the specs in a report, none if the suite ended before it wrote one: then its Go
// test has failed. Set-up and clean-up nodes are results only if they failed.
func readSpecs(path string) ([]result, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var reports []ginkgoReport
	if err == nil {
		err = json.Unmarshal(data, &reports)
	}
	if err != nil {
		return nil, fmt.Errorf("read Ginkgo's report: %w", err)
	}
	var results []result
	for _, report := range reports {
		for _, spec := range report.SpecReports {
			if r := spec.result(); r.status == failed || spec.LeafNodeType == "It" {
				results = append(results, r)
			}
		}
	}
	return results, nil
}

func (s ginkgoSpec) result() result {
	texts := append(s.ContainerHierarchyTexts, s.LeafNodeText)
	if s.LeafNodeType != "It" {
		texts = append(texts, "["+s.LeafNodeType+"]")
	}
	return result{
		test:   specPrefix + strings.Join(strings.Fields(strings.Join(texts, " ")), "_"),
		status: s.status(),
		output: s.output(),
	}
}

func (s ginkgoSpec) status() status {
	switch s.State {
	case "passed":
		return passed
	case "skipped", "pending":
		return skipped
	}
	return failed // failed, panicked, interrupted, timedout, aborted
}

func (s ginkgoSpec) output() string {
	if s.Failure.Message == "" {
		return ""
	}
	where := s.Failure.Location
	return trim(fmt.Sprintf("%s:%d: %s\n%s", where.FileName, where.LineNumber, s.Failure.Message, s.CapturedGinkgoWriterOutput))
}
