package sandbox_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// fill sets every field below v to something other than zero, so that one that does not travel is seen.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(7, 7).UTC()))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(-7)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	case reflect.Float64:
		v.SetFloat(1.5)
	default:
		panic("a field of kind " + v.Kind().String())
	}
}

func TestMessagesTravelWhole(t *testing.T) {
	for _, message := range []any{
		&sandbox.RunRequest{}, &sandbox.PullRequest{}, &sandbox.SignalRequest{}, &sandbox.RemoveContainerRequest{},
		&sandbox.Hello{}, &sandbox.ImageInfo{}, &sandbox.Progress{}, &sandbox.Info{}, &sandbox.Exit{},
		&sandbox.CreateRequest{}, &sandbox.StartRequest{}, &sandbox.DiscardRequest{}, &sandbox.ExecRequest{}, &sandbox.ExecInfo{},
		&sandbox.LogsRequest{}, &sandbox.LogEntry{}, &sandbox.Status{}, &sandbox.CheckpointRequest{}, &sandbox.RestoreRequest{}, &sandbox.ResetRequest{},
		&sandbox.ClaimRequest{}, &sandbox.Snapshot{}, &sandbox.ImportSnapshotRequest{},
	} {
		for _, filled := range []bool{false, true} {
			want := reflect.ValueOf(message)
			if filled {
				fill(want.Elem())
			}
			text, err := json.Marshal(message)
			if err != nil {
				t.Fatal(err)
			}
			got := reflect.New(want.Type().Elem())
			if err := json.Unmarshal(text, got.Interface()); err != nil || !reflect.DeepEqual(got.Interface(), message) {
				t.Errorf("%s became %+v, %v", text, got.Elem(), err)
			}
		}
	}
}

// An entrypoint that is removed and one that is the image's must not be mixed up on the way.
func TestAnEmptyEntrypointIsNotNone(t *testing.T) {
	text, err := json.Marshal(sandbox.Spec{Entrypoint: &[]string{}})
	if err != nil {
		t.Fatal(err)
	}
	var s sandbox.Spec
	if err := json.Unmarshal(text, &s); err != nil || s.Entrypoint == nil || len(*s.Entrypoint) != 0 {
		t.Errorf("%s became %v, %v", text, s.Entrypoint, err)
	}
}

func TestLimitsAreZeroOnlyWithoutAny(t *testing.T) {
	if !(sandbox.Limits{}).IsZero() || !(sandbox.Limits{BestEffort: true}).IsZero() {
		t.Error("no limits are some")
	}
	for _, l := range []sandbox.Limits{{Memory: 1}, {Swap: -1}, {CPUs: 0.1}, {PIDs: 1}} {
		if l.IsZero() {
			t.Errorf("%+v is none", l)
		}
	}
}
