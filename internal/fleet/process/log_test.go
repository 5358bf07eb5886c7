package process

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/fault"
)

// TestFollow reads on from every place, while files come and go.
func TestFollow(t *testing.T) {
	l := newLog(filepath.Join(t.TempDir(), "log"), 200)
	w, err := l.writer()
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	follow := func(place int64, n int) (string, int64) {
		t.Helper()
		lines, behind, err := l.follow(t.Context(), place, n)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range lines {
			_, lines[i], _ = strings.Cut(line, " ")
		}
		return strings.Join(lines, " "), behind
	}
	if lines, place, err := l.tail(10); err != nil || len(lines) != 0 || place != 0 {
		t.Errorf("before the first line: %q, %d, %v", lines, place, err)
	}
	write := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			if err := w.write(fmt.Sprint("line", i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(0, 3)
	got, place := follow(0, 2)
	if got != "line0 line1" {
		t.Errorf("got %q", got)
	}
	if got, place = follow(place, 100); got != "line2" {
		t.Errorf("got %q", got)
	}
	write(3, 30) // some of these files are there still, and some are not
	seen := ""
	for range 10 {
		got, next := follow(place, 4)
		if seen, place = seen+" "+got, next; strings.HasSuffix(got, "line29") {
			break
		}
	}
	first, _, _ := strings.Cut(strings.TrimSpace(seen), " ")
	if number := 0; !strings.HasPrefix(first, "line") {
		t.Errorf("got %q", seen)
	} else if _, err := fmt.Sscanf(first, "line%d", &number); err != nil || number < 8 || number > 20 {
		t.Errorf("the first line that is left is %s", first)
	} else {
		want := ""
		for i := number; i < 30; i++ {
			want += fmt.Sprint(" line", i)
		}
		if seen != want {
			t.Errorf("got  %s\nwant %s", seen, want)
		}
	}
	// tail and follow agree about places, and a place of another log is the first one.
	if lines, at, err := l.tail(1); err != nil || at != place || len(lines) != 1 || !strings.HasSuffix(lines[0], "line29") {
		t.Errorf("%q, %d instead of %d, %v", lines, at, place, err)
	}
	if got, _ := follow(place+1000, 1); got != first {
		t.Errorf("from nowhere: %q", got)
	}
	// After a restart it goes on at the same place.
	l = newLog(l.dir, 200)
	again, err := l.writer()
	if err != nil {
		t.Fatal(err)
	}
	defer again.close()
	if err := again.write("later"); err != nil {
		t.Fatal(err)
	}
	if got, _ := follow(place, 10); got != "later" {
		t.Errorf("after a restart: %q", got)
	}
}

// TestFollowWaits has one run end and another begin while somebody waits.
func TestFollowWaits(t *testing.T) {
	l := newLog(filepath.Join(t.TempDir(), "log"), 0)
	type result struct {
		lines []string
		err   error
	}
	results := make(chan result)
	place := int64(0)
	next := func() {
		lines, behind, err := l.follow(t.Context(), place, 10)
		place = behind
		results <- result{lines, err}
	}
	for i := range 3 {
		go next()
		old, err := l.writer()
		if err != nil {
			t.Fatal(err)
		}
		young, err := l.writer()
		if err != nil {
			t.Fatal(err)
		}
		old.close()
		if err := young.write(fmt.Sprint("run", i)); err != nil {
			t.Fatal(err)
		}
		young.close()
		if r := <-results; r.err != nil || len(r.lines) != 1 || !strings.HasSuffix(r.lines[0], fmt.Sprint("run", i)) {
			t.Fatalf("%d: %+v", i, r)
		}
		if old.lastLine() != "" || young.lastLine() != fmt.Sprint("run", i) {
			t.Errorf("last lines %q and %q", old.lastLine(), young.lastLine())
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := l.follow(ctx, place, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of patience: %v", err)
	}
	go next()
	l.remove()
	if r := <-results; !fault.HasCode(r.err, "agent_not_found") {
		t.Errorf("after the removal: %+v", r)
	}
}
