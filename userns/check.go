package userns

import (
	"fmt"
	"slices"
)

// Answer is what a probe found out. The zero value is Unknown.
type Answer int

// The three answers: "could not tell" is not "no".
const (
	Unknown Answer = iota
	Yes
	No
)

var answers = []string{"unknown", "yes", "no"}

func (a Answer) String() string { return answers[a] }

// MarshalText gives "yes", "no" or "unknown".
func (a Answer) MarshalText() ([]byte, error) { return []byte(answers[a]), nil }

// UnmarshalText reads what MarshalText wrote.
//
// Errors: any other text.
func (a *Answer) UnmarshalText(text []byte) error {
	i := slices.Index(answers, string(text))
	if i < 0 {
		return fmt.Errorf("read answer: %q is none of yes, no, unknown", text)
	}
	*a = Answer(i)
	return nil
}

// Check tells whether the machine has one thing that containers need.
type Check struct {
	Name     string `json:"name"`
	Answer   Answer `json:"answer"`
	Detail   string `json:"detail"`           // what was seen
	Means    string `json:"means"`            // what the user has from it, or misses without it
	Remedy   string `json:"remedy,omitempty"` // the one command or change that mends it; empty if the answer is yes
	Required bool   `json:"required"`         // no container runs without it
}

// Runnable tells whether containers will run: everything required is there.
func Runnable(checks []Check) bool {
	return !slices.ContainsFunc(checks, func(c Check) bool { return c.Required && c.Answer != Yes })
}

// verdict is the part of a check that is found out.
type verdict struct {
	answer         Answer
	detail, remedy string
}

func yes(format string, args ...any) verdict {
	return verdict{answer: Yes, detail: fmt.Sprintf(format, args...)}
}

func no(err error, remedy string) verdict { return verdict{No, err.Error(), remedy} }

func unknown(err error, remedy string) verdict { return verdict{Unknown, err.Error(), remedy} }

// with completes a check.
func (c Check) with(v verdict) Check {
	c.Answer, c.Detail, c.Remedy = v.answer, v.detail, v.remedy
	return c
}
