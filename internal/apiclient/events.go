package apiclient

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/deputy-id/deputy/internal/fault"
)

// The bounds of an event stream, in bytes.
const (
	maxLine  = 1 << 20
	maxEvent = 2 << 20
)

// Event is one server-sent event.
type Event struct {
	ID   string // the last id that the stream gave, with this event or before
	Name string // "message" if the event has no name
	Data []byte // its data lines, joined with LF
}

// Events reads server-sent events (WHATWG HTML, section 9.2). Comments and
// retry times have no meaning here and are skipped.
type Events struct {
	in      *bufio.Reader
	started bool
	afterCR bool // the last line ended in CR: an LF that follows belongs to it
	id      string
	// Beat, if it is set, is called for every line that arrives, so that a watch for silence sees
	// heartbeats too.
	Beat func()
}

// NewEvents returns a reader of the events in r.
func NewEvents(r io.Reader) *Events { return &Events{in: bufio.NewReader(r)} }

// Next returns the next event that has data. At the end it returns [io.EOF]; an
// event that the end cuts off is dropped, as the specification wants. An event
// or a line beyond the bounds is a fault of kind Upstream (event_too_large).
func (e *Events) Next() (Event, error) {
	var next Event
	has := false
	for {
		line, err := e.line()
		if err != nil {
			return Event{}, err
		}
		if e.Beat != nil {
			e.Beat()
		}
		if len(line) == 0 {
			if !has {
				next.Name = "" // an event without data is none
				continue
			}
			if next.ID = e.id; next.Name == "" {
				next.Name = "message"
			}
			return next, nil
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "data":
			if has {
				next.Data = append(next.Data, '\n')
			}
			has = true
			next.Data = append(next.Data, value...)
			if len(next.Data) > maxEvent {
				return Event{}, eventTooLarge()
			}
		case "event":
			next.Name = string(value)
		case "id":
			if !bytes.ContainsRune(value, 0) {
				e.id = string(value)
			}
		}
	}
}

func eventTooLarge() error {
	return fault.New(fault.Upstream, "event_too_large", "an event of the stream is larger than %d bytes", maxLine)
}

// line returns the next line without its end, which is LF, CR or CRLF. A last
// line without an end is not a line.
func (e *Events) line() ([]byte, error) {
	if !e.started {
		e.started = true
		if mark, err := e.in.Peek(3); err == nil && string(mark) == "\ufeff" {
			_, _ = e.in.Discard(3) // they are in the buffer
		}
	}
	var line []byte
	for {
		c, err := e.in.ReadByte()
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = io.EOF // the connection broke in the middle of a chunk: no different from one that was closed
		}
		if err != nil {
			return nil, err
		}
		skip := e.afterCR && c == '\n'
		e.afterCR = c == '\r'
		switch {
		case skip:
		case c == '\n', c == '\r':
			return line, nil
		case len(line) == maxLine:
			return nil, eventTooLarge()
		default:
			line = append(line, c)
		}
	}
}
