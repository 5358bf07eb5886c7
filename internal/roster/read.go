package roster

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/wire"
)

// Bounds of what is imported.
const (
	MaxUpload = 16 << 20 // bytes of a file
	maxLine   = 64 << 10 // bytes of one user
	maxRows   = 100_000
)

// Row is what a file says about one user. What is nil is not said: an import
// leaves it as it is.
type Row struct {
	UserName          string
	DisplayName       *string
	Email             *string
	EmailVerified     *bool
	Phone             *string
	Groups            []string // nil: not said
	Attributes        map[string]string
	Password          secret.Text
	TemporaryPassword secret.Text
	PasswordHash      secret.Text
}

// Reader reads the users of a file, one by one.
type Reader interface {
	// Next returns the next row and the line on which it begins. A fault of kind Invalid is about that row
	// alone. A [*BrokenError] is about all that would follow; [io.EOF] is the end.
	Next() (row Row, line int, err error)
}

// BrokenError says that a file cannot be read on.
type BrokenError struct{ Fault *fault.Error }

// Error implements error.
func (e *BrokenError) Error() string { return e.Fault.Error() }

// Unwrap returns the fault.
func (e *BrokenError) Unwrap() error { return e.Fault }

func broken(code, format string, args ...any) *BrokenError {
	return &BrokenError{fault.New(fault.Invalid, code, format, args...)}
}

// The formats of files, as media types.
const (
	CSV       = "text/csv"             // RFC 4180, the first row names the columns
	JSONLines = "application/x-ndjson" // one object for each line
)

// NewReader returns a Reader for a file of the given format.
func NewReader(format string, r io.Reader) (Reader, error) {
	in := bufio.NewReader(io.LimitReader(r, MaxUpload+1))
	if mark, err := in.Peek(3); err == nil && bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		_, _ = in.Discard(3) // it was just seen
	}
	switch format {
	case CSV:
		return newCSV(in)
	case JSONLines:
		s := bufio.NewScanner(in)
		s.Buffer(make([]byte, 0, 4<<10), maxLine)
		return &jsonLines{in: s}, nil
	}
	return nil, fault.New(fault.Invalid, "content_type_unsupported", "files of type %q cannot be imported", name.Clip(format, 60)).WithFix("send %s or %s", CSV, JSONLines)
}

// csvReader reads RFC 4180.
type csvReader struct {
	in      *csv.Reader
	columns []string
	ended   bool
}

// attributePrefix begins the columns of attributes.
const attributePrefix = "attributes."

// setters are the columns and what they set. A setter gets a value that is not empty.
var setters = map[string]func(row *Row, value string) error{
	"userName":          func(row *Row, v string) error { row.UserName = v; return nil },
	"displayName":       func(row *Row, v string) error { row.DisplayName = &v; return nil },
	"email":             func(row *Row, v string) error { row.Email = &v; return nil },
	"phone":             func(row *Row, v string) error { row.Phone = &v; return nil },
	"password":          func(row *Row, v string) error { row.Password = secret.FromString(v); return nil },
	"temporaryPassword": func(row *Row, v string) error { row.TemporaryPassword = secret.FromString(v); return nil },
	"passwordHash":      func(row *Row, v string) error { row.PasswordHash = secret.FromString(v); return nil },
	"emailVerified": func(row *Row, v string) error {
		verified, err := strconv.ParseBool(strings.ToLower(v))
		if err != nil {
			return fault.New(fault.Invalid, "field_invalid", "emailVerified is not true or false")
		}
		row.EmailVerified = &verified
		return nil
	},
	"groups": func(row *Row, v string) error {
		for g := range strings.SplitSeq(v, ";") {
			if g = strings.TrimSpace(g); g != "" {
				row.Groups = append(row.Groups, g)
			}
		}
		return nil
	},
}

func newCSV(r io.Reader) (*csvReader, error) {
	in := csv.NewReader(r)
	header, err := in.Read()
	if err != nil {
		return nil, fault.New(fault.Invalid, "header_missing", "the file has no row that names its columns").WithFix("begin it with a row such as userName,displayName,email")
	}
	c := &csvReader{in: in, columns: header}
	seen := map[string]bool{}
	for i, column := range header {
		column = strings.TrimSpace(column)
		_, known := setters[column]
		if !known && (!strings.HasPrefix(column, attributePrefix) || column == attributePrefix) {
			return nil, fault.New(fault.Invalid, "column_unknown", "the column %q is not known", name.Clip(column, 60)).
				WithFix("use userName, displayName, email, emailVerified, phone, groups, password, temporaryPassword, passwordHash and attributes.NAME, in UTF-8, separated by commas")
		}
		if seen[column] {
			return nil, fault.New(fault.Invalid, "column_repeated", "the column %q is there twice", name.Clip(column, 60))
		}
		seen[column], c.columns[i] = true, column
	}
	if !seen["userName"] {
		return nil, fault.New(fault.Invalid, "column_missing", "there is no column userName")
	}
	return c, nil
}

// Next implements [Reader].
func (c *csvReader) Next() (Row, int, error) {
	if c.ended {
		return Row{}, 0, io.EOF
	}
	begin := c.in.InputOffset()
	fields, err := c.in.Read()
	if errors.Is(err, io.EOF) {
		return Row{}, 0, io.EOF
	}
	line := 0
	if len(fields) > 0 {
		line, _ = c.in.FieldPos(0)
	}
	var parse *csv.ParseError
	switch {
	case errors.Is(err, csv.ErrFieldCount):
		return Row{}, line, fault.New(fault.Invalid, "row_malformed", "the row has %d fields, and %d columns have a name", len(fields), len(c.columns))
	case errors.As(err, &parse): // where a quotation mark is missing, nobody knows where the next row begins
		c.ended = true
		return Row{}, parse.StartLine, broken("row_malformed", "the row has a quotation mark where none may be, or lacks one")
	case err != nil:
		c.ended = true
		return Row{}, 0, unreadable(err)
	case c.in.InputOffset() > MaxUpload:
		c.ended = true
		return Row{}, line, tooLarge()
	case c.in.InputOffset()-begin > maxLine:
		return Row{}, line, fault.New(fault.Invalid, "row_too_large", "the row is too large").WithFix("a user takes at most %d bytes", maxLine)
	}
	row, err := c.row(fields)
	return row, line, err
}

func (c *csvReader) row(fields []string) (Row, error) {
	var row Row
	for i, value := range fields {
		if !utf8.ValidString(value) {
			return Row{}, fault.New(fault.Invalid, "row_encoding", "the column %s is not UTF-8", name.Clip(c.columns[i], 60)).WithFix("save the file as \"CSV UTF-8\"")
		}
		if value == "" {
			continue
		}
		if attribute, ok := strings.CutPrefix(c.columns[i], attributePrefix); ok {
			if row.Attributes == nil {
				row.Attributes = map[string]string{}
			}
			row.Attributes[attribute] = value
			continue
		}
		if err := setters[c.columns[i]](&row, value); err != nil {
			return Row{}, err
		}
	}
	return row, nil
}

// jsonLines reads one JSON object for each line; empty lines are left out.
type jsonLines struct {
	in   *bufio.Scanner
	line int
	size int64
}

type jsonRow struct {
	UserName          string            `json:"userName"`
	DisplayName       *string           `json:"displayName"`
	Email             *string           `json:"email"`
	EmailVerified     *bool             `json:"emailVerified"`
	Phone             *string           `json:"phone"`
	Groups            []string          `json:"groups"`
	Attributes        map[string]string `json:"attributes"`
	Password          secret.Text       `json:"password"`
	TemporaryPassword secret.Text       `json:"temporaryPassword"`
	PasswordHash      secret.Text       `json:"passwordHash"`
}

// Next implements [Reader].
func (j *jsonLines) Next() (Row, int, error) {
	for j.in.Scan() {
		j.line++
		j.size += int64(len(j.in.Bytes())) + 1
		if j.size > MaxUpload {
			return Row{}, j.line, tooLarge()
		}
		if len(bytes.TrimSpace(j.in.Bytes())) == 0 {
			continue
		}
		var row jsonRow
		err := wire.Decode(bytes.NewReader(j.in.Bytes()), maxLine, &row)
		return Row(row), j.line, err
	}
	switch err := j.in.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return Row{}, j.line + 1, broken("row_too_large", "the line is too large: a user takes at most %d bytes", maxLine)
	case err != nil:
		return Row{}, j.line + 1, unreadable(err)
	}
	return Row{}, 0, io.EOF
}

func tooLarge() *BrokenError {
	return &BrokenError{fault.New(fault.TooLarge, "file_too_large", "the file is too large").WithFix("split it: a file has at most %d MiB", MaxUpload>>20)}
}

func unreadable(err error) *BrokenError {
	return &BrokenError{fault.Wrap(err, fault.Unavailable, "file_unreadable", "the file broke off")}
}
