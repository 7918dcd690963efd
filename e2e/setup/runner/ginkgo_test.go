package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReadSpecs(t *testing.T) {
	const report = `[{"SpecReports": [
		{"ContainerHierarchyTexts": ["run", "with a  name"], "LeafNodeType": "It", "LeafNodeText": "works", "State": "passed"},
		{"LeafNodeType": "It", "LeafNodeText": "waits", "State": "pending"},
		{"LeafNodeType": "It", "LeafNodeText": "hangs", "State": "timedout", "Failure": {"Message": "too long"}},
		{"LeafNodeType": "BeforeSuite", "State": "passed"},
		{"LeafNodeType": "AfterSuite", "State": "panicked"}
	]}]`
	path := filepath.Join(t.TempDir(), "report.json")
	if err := os.WriteFile(path, []byte(report), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := readSpecs(path)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]status{
		"Spec/run_with_a_name_works": passed,
		"Spec/waits":                 skipped,
		"Spec/hangs":                 failed,
		"Spec/[AfterSuite]":          failed,
	}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
	for _, r := range got {
		if want[r.test] != r.status {
			t.Errorf("%s: got %s, want %q", r.test, r.status, want[r.test])
		}
	}
}

func TestReadSpecsOfSuiteThatDied(t *testing.T) {
	dir := t.TempDir()
	if got, err := readSpecs(filepath.Join(dir, "none.json")); len(got) != 0 || err != nil {
		t.Errorf("no report: got %v, %v", got, err)
	}
	half := filepath.Join(dir, "half.json")
	if err := os.WriteFile(half, []byte(`[{"SpecReports": [`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readSpecs(half); err == nil {
		t.Error("half a report: no error")
	}
}
