package sandbox

import (
	"context"
	"errors"
	"slices"
)

// AllRecords is [Containers] with all that is known of each. Of those that are not kept it asks their keepers.
func AllRecords(ctx context.Context) ([]Record, error) {
	list, err := Records()
	if err != nil {
		return nil, err
	}
	kept := make(map[string]bool, len(list))
	for _, r := range list {
		kept[r.ID] = true
	}
	all, err := attachAll(ctx, kept)
	for _, a := range all {
		r, failed := a.record(ctx)
		if CodeOf(failed) != CodeAlreadyFinished { // gone meanwhile
			list, err = append(list, r), errors.Join(err, failed)
		}
		_ = a.Close() // whose container goes on
	}
	slices.SortStableFunc(list, func(a, b Record) int { return b.Created.Compare(a.Created) })
	return list, err
}

// FindRecord is [Find] with all that is known of the container.
//
// Errors: those of Find.
func FindRecord(ctx context.Context, container string) (Record, error) {
	st, a, err := find(ctx, container)
	switch {
	case err != nil:
		return Record{}, err
	case a == nil:
		return ReadRecord(st.ID)
	}
	defer a.Close() //nolint:errcheck // the container goes on whatever becomes of the connection
	return a.record(ctx)
}

// record asks the keeper what the container was made from.
func (a *Attached) record(ctx context.Context) (Record, error) {
	spec, err := a.Config(ctx)
	return Record{Status: a.Status, Spec: spec}, err
}
