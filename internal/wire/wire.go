// Package wire reads bounded strict JSON and writes JSON answers.
//
// encoding/json forgives what an attacker can use: it takes the last of two
// equal members, matches member names in any letter case, replaces invalid
// UTF-8, and skips what it does not know. Two parsers that forgive differently
// can be made to read two different requests from the same bytes; so Deputy
// refuses all of it, and says where in the document the problem is.
package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/deputy-id/deputy/internal/fault"
)

// MaxDepth is how many objects and arrays may be nested in each other.
const MaxDepth = 64

// Decode reads one JSON document of at most limit bytes from r into the value
// that into points to. It returns a fault of kind TooLarge (json_too_large) for
// a longer document, and of kind Invalid for everything else that is wrong with
// it: json_unknown_field for a member that into has no field for, json_invalid
// for malformed JSON, trailing data, a duplicate member, a value of the wrong
// type, invalid UTF-8, or more than [MaxDepth] levels. An error that an
// UnmarshalJSON or UnmarshalText method returned as a fault is passed on as it
// is. Messages name the member by its path ("common.envs[2].name").
func Decode(r io.Reader, limit int64, into any) error {
	b, err := ReadAll(r, limit)
	if fault.HasCode(err, "body_too_large") {
		return fault.New(fault.TooLarge, "json_too_large", "the JSON document is larger than %d bytes", limit)
	}
	if err != nil {
		return err
	}
	return decode(b, into, document{kind: fault.Invalid, strict: true})
}

// DecodeForeign decodes a third party's JSON answer into the value that into
// points to. It is as strict as [Decode], except that members that into has no
// field for are skipped: third parties add some without notice. Faults are of
// kind Upstream with code json_invalid.
func DecodeForeign(b []byte, into any) error {
	return decode(b, into, document{kind: fault.Upstream})
}

// ReadAll reads r to its end. It returns a fault of kind TooLarge
// (body_too_large) when there are more than limit bytes, having read at most
// one byte more than limit, and of kind Invalid (body_unreadable) when reading
// fails.
func ReadAll(r io.Reader, limit int64) ([]byte, error) {
	if r == nil {
		return nil, nil
	}
	lr := &io.LimitedReader{R: r, N: limit}
	b, err := io.ReadAll(lr)
	if err == nil && lr.N <= 0 {
		var one [1]byte
		if n, _ := io.ReadFull(r, one[:]); n > 0 {
			err = errTooLarge
		}
	}
	var max *http.MaxBytesError
	switch {
	case err == nil:
		return b, nil
	case errors.Is(err, errTooLarge) || errors.As(err, &max):
		return nil, fault.New(fault.TooLarge, "body_too_large", "the body is larger than %d bytes", limit)
	default:
		return nil, fault.Wrap(err, fault.Invalid, "body_unreadable", "the body could not be read to its end")
	}
}

var errTooLarge = errors.New("too large")

// Write answers with status and v as JSON. The answer is never cached and its
// type never guessed. A Content-Type that is already set stays (problem+json).
// A v that cannot be encoded is a bug and answered with status 500.
func Write(w http.ResponseWriter, status int, v any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // nosniff makes it superfluous, and links with & stay readable
	if err := enc.Encode(v); err != nil {
		status = http.StatusInternalServerError
		buf.Reset()
		buf.WriteString(`{"code":"internal"}` + "\n")
	}
	h := w.Header()
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(buf.Bytes()) // a client that went away is not our error
}
