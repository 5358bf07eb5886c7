package deputy

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// maxEventSize bounds one server-sent event of Deputy, comments included.
const maxEventSize = 64 << 10

var errEventTooLarge = errors.New("deputy: server-sent event is too large")

// serverEvent is one event of a stream; a missing name is "message".
type serverEvent struct{ name, data string }

// eventReader reads server-sent events (WHATWG HTML, section 9.2.6). Ids and
// retry times have no use here and are passed over.
type eventReader struct {
	r      *bufio.Reader
	skipLF bool // the last line ended with CR; LF may follow and is no line of its own
	begun  bool
	limit  int // of one event, in bytes
}

func newEventReader(r io.Reader) *eventReader {
	return &eventReader{r: bufio.NewReader(r), limit: maxEventSize}
}

// next returns the next event that has data. At the end of the stream it
// returns [io.EOF]; an event that was not finished by then is dropped, as the
// standard wants it.
func (e *eventReader) next() (serverEvent, error) {
	var (
		event   serverEvent
		data    strings.Builder
		hasData bool
		size    int
	)
	for {
		line, err := e.line(e.limit - size)
		if err != nil {
			return serverEvent{}, err
		}
		size += len(line) + 1
		if line == "" {
			if hasData {
				event.data = data.String()
				if event.name == "" {
					event.name = "message"
				}
				return event, nil
			}
			event.name, size = "", 0
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "": // a comment: the heartbeat. It must not use up the bound of an event that is yet to come.
			size -= len(line) + 1
		case "event":
			event.name = value
		case "data":
			if hasData {
				data.WriteByte('\n')
			}
			data.WriteString(value)
			hasData = true
		}
	}
}

// line reads up to LF, CR or CRLF. It never waits for the byte after a CR.
func (e *eventReader) line(limit int) (string, error) {
	var b []byte
	for {
		c, err := e.r.ReadByte()
		if err != nil {
			return "", err
		}
		if e.skipLF {
			e.skipLF = false
			if c == '\n' {
				continue
			}
		}
		if c == '\n' || c == '\r' {
			e.skipLF = c == '\r'
			break
		}
		if b = append(b, c); len(b) > limit {
			return "", errEventTooLarge
		}
	}
	line := string(b)
	if !e.begun {
		e.begun = true
		line = strings.TrimPrefix(line, "\ufeff")
	}
	return line, nil
}
