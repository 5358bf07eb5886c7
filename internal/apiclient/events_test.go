package apiclient_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
)

func readEvents(r io.Reader) (got []apiclient.Event, err error) {
	events := apiclient.NewEvents(r)
	for {
		event, err := events.Next()
		if err != nil {
			return got, err
		}
		got = append(got, event)
	}
}

func TestEvents(t *testing.T) {
	event := func(id, name, data string) apiclient.Event {
		return apiclient.Event{ID: id, Name: name, Data: []byte(data)}
	}
	tests := map[string]struct {
		stream string
		want   []apiclient.Event
	}{
		"plain":                {"data: a\n\ndata:b\n\n", []apiclient.Event{event("", "message", "a"), event("", "message", "b")}},
		"name and id":          {"event: record\nid: 7\ndata: a\n\ndata: b\n\n", []apiclient.Event{event("7", "record", "a"), event("7", "message", "b")}},
		"lines":                {"data: a\ndata:  b\ndata\n\n", []apiclient.Event{event("", "message", "a\n b\n")}},
		"CRLF, CR":             {"data: a\r\n\r\ndata: b\r\r", []apiclient.Event{event("", "message", "a"), event("", "message", "b")}},
		"comments and retry":   {": x\n\nretry: 5\n: y\ndata: a\n\n", []apiclient.Event{event("", "message", "a")}},
		"a name without data":  {"event: lost\n\ndata: a\n\n", []apiclient.Event{event("", "message", "a")}},
		"byte order mark":      {"\ufeffdata: a\n\n", []apiclient.Event{event("", "message", "a")}},
		"an id with NUL":       {"id: 1\n\nid: 2\x00\ndata: a\n\n", []apiclient.Event{event("1", "message", "a")}},
		"cut off":              {"data: a\n\ndata: b\n", []apiclient.Event{event("", "message", "a")}},
		"cut off in a line":    {"data: a\n\ndata: b", []apiclient.Event{event("", "message", "a")}},
		"empty":                {"", nil},
		"fields of other name": {"data : a\nDATA: b\ndata: c\n\n", []apiclient.Event{event("", "message", "c")}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(test.stream), iotest.OneByteReader(strings.NewReader(test.stream))} {
				got, err := readEvents(r)
				if diff := cmp.Diff(test.want, got); diff != "" || !errors.Is(err, io.EOF) {
					t.Error(diff, err)
				}
			}
		})
	}
}

func TestEventsAreBounded(t *testing.T) {
	for name, stream := range map[string]io.Reader{
		"one line":   strings.NewReader("data: " + strings.Repeat("x", 1<<20+1)),
		"many lines": strings.NewReader(strings.Repeat("data: "+strings.Repeat("x", 1<<19)+"\n", 5)),
	} {
		if _, err := readEvents(stream); !fault.HasCode(err, "event_too_large") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestEventsBeat(t *testing.T) {
	events := apiclient.NewEvents(strings.NewReader(": alive\n\ndata: a\n\n"))
	beats := 0
	events.Beat = func() { beats++ }
	if _, err := events.Next(); err != nil || beats != 4 {
		t.Errorf("%d beats, error %v; want one for each line", beats, err)
	}
}

// FuzzEvents: nothing panics, however the stream is cut into reads the events
// are the same, and events written anew are read as they were.
func FuzzEvents(f *testing.F) {
	for _, seed := range []string{"data: a\n\n", "id: 1\r\nevent: x\rdata: a\n\r\n", "\ufeff: c\ndata\n\n", "data: a\ndata: b\n\ndata"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		got, err := readEvents(bytes.NewReader(stream))
		slowly, slowErr := readEvents(iotest.OneByteReader(bytes.NewReader(stream)))
		if diff := cmp.Diff(got, slowly); diff != "" || (err == nil) != (slowErr == nil) {
			t.Fatal(diff, err, slowErr)
		}
		var again bytes.Buffer
		for _, e := range got {
			fmt.Fprintf(&again, "id: %s\nevent: %s\ndata: %s\n\n", e.ID, e.Name, bytes.ReplaceAll(e.Data, []byte("\n"), []byte("\ndata: ")))
		}
		back, _ := readEvents(&again)
		if diff := cmp.Diff(got, back); diff != "" {
			t.Error(diff)
		}
	})
}
