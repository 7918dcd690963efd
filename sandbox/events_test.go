package sandbox

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func newEventFile(t *testing.T, limit int64) *eventFile {
	t.Helper()
	return &eventFile{filepath.Join(t.TempDir(), "events.jsonl"), limit}
}

func collect(t *testing.T, f *eventFile, spec EventsSpec) []Event {
	t.Helper()
	var list []Event
	if err := f.each(t.Context(), spec, func(e Event) bool { list = append(list, e); return true }); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestEventsAreForTheirOwnerAlone(t *testing.T) {
	f := newEventFile(t, 1<<20)
	if err := f.emit(Event{Type: EventContainer, Action: "start", ID: "a", Attributes: map[string]string{"name": "x"}}); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(f.path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", st.Mode(), err)
	}
	list := collect(t, f, EventsSpec{})
	if len(list) != 1 || list[0].ID != "a" || list[0].Time.IsZero() || list[0].Attributes["name"] != "x" {
		t.Fatalf("%+v", list)
	}
}

// Many writers with a record that is turned over all the time: who follows sees every event once, each writer's in order.
func TestEventsOverTurnOvers(t *testing.T) {
	const writers, each = 8, 60
	f := newEventFile(t, 32<<10)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	unread := make(chan bool, 50) // what was written and not seen is less than a record: only one turn-over behind is nothing lost
	seen := map[string]int{}
	total := 0
	following := make(chan error, 1)
	go func() {
		following <- f.each(ctx, EventsSpec{Follow: true}, func(e Event) bool {
			var n int
			if _, err := fmt.Sscan(e.Attributes["n"], &n); err != nil || n != seen[e.ID] {
				t.Errorf("writer %s: event %q where %d was expected", e.ID, e.Attributes["n"], seen[e.ID])
				return false
			}
			seen[e.ID]++
			total++
			<-unread
			return total < writers*each
		})
	}()
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for n := range each {
				e := Event{Type: EventContainer, Action: "start", ID: fmt.Sprint(w), Attributes: map[string]string{"n": fmt.Sprint(n), "pad": strings.Repeat("x", 100)}}
				select {
				case unread <- true:
				case <-ctx.Done():
					return
				}
				if err := f.emit(e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if err := <-following; err != nil || total != writers*each {
		t.Fatalf("%v after %d events", err, total)
	}
	if _, err := os.Stat(f.path + ".1"); err != nil {
		t.Fatalf("it was never turned over: %v", err)
	}
}

func TestEventsSkipHalfALine(t *testing.T) {
	f := newEventFile(t, 1<<20)
	write := func(id string) {
		if err := f.emit(Event{Type: EventVolume, Action: "create", ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	write("a")
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(`{"time":"2030-01-0`); err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	write("b")
	if list := collect(t, f, EventsSpec{}); len(list) != 2 || list[1].ID != "b" {
		t.Fatalf("%+v", list)
	}
}

func TestEventsBetweenTimes(t *testing.T) {
	f := newEventFile(t, 1<<20)
	now := time.Now()
	for i := range 5 {
		if err := f.emit(Event{Time: now.Add(time.Duration(i) * time.Minute), Type: EventImage, Action: "pull", ID: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	list := collect(t, f, EventsSpec{Since: now.Add(time.Minute), Until: now.Add(3 * time.Minute)})
	if len(list) != 2 || list[0].ID != "1" || list[1].ID != "2" {
		t.Fatalf("%+v", list)
	}
	begun := time.Now()
	list = collect(t, f, EventsSpec{Since: now, Until: begun.Add(150 * time.Millisecond), Follow: true})
	if took := time.Since(begun); len(list) != 1 || took < 100*time.Millisecond || took > 5*time.Second {
		t.Fatalf("%+v after %v", list, took)
	}
}

func TestEventsOfHostileImagesAreBounded(t *testing.T) {
	f := newEventFile(t, 1<<20)
	attributes := map[string]string{"image": "x", "small": "y"}
	for i := range 5 {
		attributes[fmt.Sprint(i)] = strings.Repeat("z", 10<<10)
	}
	if err := f.emit(Event{Type: EventContainer, Action: "create", ID: "a", Attributes: attributes}); err != nil {
		t.Fatal(err)
	}
	list := collect(t, f, EventsSpec{})
	if len(list) != 1 || list[0].Attributes["image"] != "x" || list[0].Attributes["small"] != "y" || len(attributes) != 7 {
		t.Fatalf("%+v", list)
	}
	if st, _ := os.Stat(f.path); st.Size() > eventLimit+1 {
		t.Fatalf("%d bytes", st.Size())
	}
}
