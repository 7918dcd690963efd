package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

// print prints the report for people.
func (r *report) print(out io.Writer) error {
	_, err := fmt.Fprintf(out, "%s\nbivouac's executable has %.1f MB\n", r.Machine, r.Size)
	for _, c := range r.Contests {
		err = errors.Join(err, c.print(out))
	}
	fmt.Fprintln(out, "\nTargets")
	for _, v := range r.Verdicts {
		fmt.Fprintln(out, " ", v)
	}
	return err
}

func (r results) print(out io.Writer) error {
	fmt.Fprintf(out, "\n%s, in %s\n", r.Title, r.Unit)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, strings.Join(append([]string{r.nameColumn(""), "n", "median", "p10", "p90", "bivouac/it"}, r.extraTitle()...), "\t")+"\t")
	for _, one := range r.Rows {
		if one.LeftOut == "" {
			fmt.Fprintln(table, strings.Join(r.cells(one), "\t")+"\t")
		}
	}
	err := table.Flush()
	for _, one := range r.Rows {
		one.remark(out)
	}
	return err
}

// nameColumn pads a name to the longest one: the other columns are aligned to the right.
func (r results) nameColumn(name string) string {
	longest := 0
	for _, one := range r.Rows {
		longest = max(longest, len(one.Name))
	}
	return fmt.Sprintf("%-*s", longest, name)
}

func (r results) extraTitle() []string {
	if r.hasLargest() {
		return []string{"largest process (max RSS)"}
	}
	return nil
}

func (r results) hasLargest() bool { return len(r.first().Largest) > 0 }

func (r results) cells(one *row) []string {
	cells := []string{
		r.nameColumn(one.Name), fmt.Sprint(len(one.Values)),
		show(one.Values.median()), show(one.Values.quantile(0.1)), show(one.Values.quantile(0.9)), "",
	}
	if one != r.first() && !math.IsNaN(r.ratio(one)) {
		cells[5] = fmt.Sprintf("%.2f", r.ratio(one))
	}
	if r.hasLargest() {
		cells = append(cells, show(one.Largest.median()))
	}
	return cells
}

// show prints a number with as many digits as mean something.
func show(value float64) string {
	switch {
	case math.IsNaN(value):
		return "-"
	case value >= 1000:
		return fmt.Sprintf("%.0f", value)
	}
	return fmt.Sprintf("%.1f", value)
}

// remark prints what the numbers of a row do not say.
func (r *row) remark(out io.Writer) {
	if r.LeftOut != "" {
		fmt.Fprintf(out, "  %s left out: %s\n", r.Name, r.LeftOut)
		return
	}
	var parts []string
	for _, part := range []string{r.Version, r.About} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if len(r.ByRSS) > 0 {
		parts = append(parts, "counted by RSS: "+strings.Join(r.ByRSS, ", "))
	}
	if len(parts) > 0 {
		fmt.Fprintf(out, "  %s: %s\n", r.Name, strings.Join(parts, "; "))
	}
}
