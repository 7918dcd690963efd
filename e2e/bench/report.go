package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// A report is all that came out.
type report struct {
	Machine  machine   `json:"machine"`
	Size     float64   `json:"binaryMB"`
	Contests []results `json:"contests"`
	Verdicts []verdict `json:"targets"`
}

func newReport(binary string) (*report, error) {
	info, err := os.Stat(binary)
	if err != nil {
		return nil, err
	}
	m, err := thisMachine()
	return &report{Machine: m, Size: float64(info.Size()) / megabyte}, err
}

func (r *report) contest(name string) *results {
	i := slices.IndexFunc(r.Contests, func(one results) bool { return one.Name == name })
	if i < 0 {
		return nil
	}
	return &r.Contests[i]
}

// publish prints the report, and writes it to a file too unless that is empty.
func (r *report) publish(out io.Writer, file string) error {
	if err := r.Machine.measureLoad(&r.Machine.LoadAfter); err != nil {
		return err
	}
	if err := r.print(out); err != nil {
		return fmt.Errorf("print report: %w", err)
	}
	if file == "" {
		return nil
	}
	return r.write(file)
}

func (r *report) write(file string) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	encoder := json.NewEncoder(f)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}
