package userns

import (
	"errors"
	"fmt"
)

// Unsupported says that this machine or this user cannot have a feature. It is [errors.ErrUnsupported] to [errors.Is].
type Unsupported struct {
	Feature string // what is missing, as in "user namespaces"
	Remedy  string // the command or change that mends it; may be empty
	Err     error  // why, may be nil
}

func (u *Unsupported) Error() string {
	text := u.Feature + ": not possible here"
	if u.Err != nil {
		text = fmt.Sprintf("%s: %v", u.Feature, u.Err)
	}
	if u.Remedy != "" {
		text += "; " + u.Remedy
	}
	return text
}

// Unwrap gives the cause, if there is one, and [errors.ErrUnsupported].
func (u *Unsupported) Unwrap() []error {
	if u.Err == nil {
		return []error{errors.ErrUnsupported}
	}
	return []error{u.Err, errors.ErrUnsupported}
}
