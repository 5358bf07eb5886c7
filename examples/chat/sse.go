package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// The bounds of an agent's stream, in bytes.
const (
	maxEventLine = 1 << 20
	maxEvent     = 2 << 20
)

var errEventTooLarge = errors.New("an event of the stream is too large")

// eventReader reads the data of server-sent events (WHATWG HTML section 9.2).
// Event names, ids, retry times and comments have no meaning here and are
// skipped.
type eventReader struct {
	in     *bufio.Reader
	afterR bool // the last line ended in CR: an LF that follows belongs to it
}

func newEventReader(r io.Reader) *eventReader {
	return &eventReader{in: bufio.NewReaderSize(r, 32<<10)}
}

// next returns the data of the next event that has any, its lines joined with
// LF. At the end it returns io.EOF; an event that the end cuts off is dropped,
// as the specification wants. The caller owns the slice.
func (e *eventReader) next() ([]byte, error) {
	var data []byte
	has := false
	for {
		line, err := e.line()
		if err != nil {
			return nil, err
		}
		if len(line) == 0 {
			if has {
				return data, nil
			}
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		if string(field) != "data" {
			continue
		}
		if has {
			data = append(data, '\n')
		}
		has = true
		data = append(data, bytes.TrimPrefix(value, []byte(" "))...)
		if len(data) > maxEvent {
			return nil, errEventTooLarge
		}
	}
}

// line returns the next line without its end, which is LF, CR or CRLF. A last
// line without an end is not a line.
func (e *eventReader) line() ([]byte, error) {
	var line []byte
	for {
		c, err := e.in.ReadByte()
		if err != nil {
			return nil, err
		}
		skip := e.afterR && c == '\n'
		e.afterR = c == '\r'
		switch {
		case skip:
		case c == '\n', c == '\r':
			return line, nil
		case len(line) == maxEventLine:
			return nil, errEventTooLarge
		default:
			line = append(line, c)
		}
	}
}
