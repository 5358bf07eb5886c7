package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/roster"
	"github.com/deputy-id/deputy/internal/wire"
)

var importQuery = []parameter{{"dryRun", "boolean", "Change nothing and report what would be done"}}

// upload is the body of an endpoint that takes a file of [roster.MaxUpload].
type upload struct{}

// maxBody implements [bounded].
func (upload) maxBody() int64 { return roster.MaxUpload }

// importLine is one line of the answer to an import: of a row, or the last one.
type importLine struct {
	Line     int            `json:"line,omitempty" doc:"Of the file"`
	UserName string         `json:"userName,omitempty"`
	Outcome  roster.Outcome `json:"outcome,omitempty" enum:"create,update,unchanged,error"`
	Code     string         `json:"code,omitempty"`
	Detail   string         `json:"detail,omitempty"`
	Fix      string         `json:"fix,omitempty"`
	Done     bool           `json:"done,omitempty" doc:"True on the last line only: without it, the import broke off, and the same file can be imported again"`

	Created   int `json:"created,omitempty"`
	Updated   int `json:"updated,omitempty"`
	Unchanged int `json:"unchanged,omitempty"`
	Refused   int `json:"refused,omitempty"`
}

func (l *importLine) explain(f *fault.Error) {
	l.Code, l.Detail, l.Fix = f.Code, f.Message, f.Fix
}

// importUsers reads the whole file before it begins, as fast as a body must come,
// and then takes the time that hashing takes.
func (a *API) importUsers(c *call) (any, error) {
	dry := false
	if text, ok := c.query["dryRun"]; ok {
		var err error
		if dry, err = strconv.ParseBool(text); err != nil {
			return nil, fault.New(fault.Invalid, "parameter_invalid", "dryRun is not true or false").WithSource("dryRun")
		}
	}
	pool, err := a.Pools.Pool(c.ctx, c.path("pool"))
	if err != nil {
		return nil, err
	}
	format, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil {
		format = c.r.Header.Get("Content-Type")
	}
	file, err := wire.ReadAll(c.r.Body, roster.MaxUpload)
	if err != nil {
		return nil, err
	}
	defer clear(file)
	rows, err := roster.NewReader(format, bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	c.w.Header().Set("Content-Type", roster.JSONLines)
	c.w.Header().Set("Cache-Control", "no-store")
	c.w.WriteHeader(http.StatusOK)
	out := lines{json.NewEncoder(c.w), http.NewResponseController(c.w)}
	sum, err := a.Roster.Import(c.ctx, c.caller, pool, rows, dry, func(l roster.Line) error {
		shown := importLine{Line: l.Line, UserName: l.UserName, Outcome: l.Outcome}
		if l.Err != nil {
			shown.explain(l.Err)
		}
		return out.write(shown)
	})
	last := importLine{Done: err == nil, Created: sum.Created, Updated: sum.Updated, Unchanged: sum.Unchanged, Refused: sum.Refused}
	if err != nil {
		f := fault.As(err)
		a.Logger.WarnContext(c.ctx, "import broke off", "pool", pool.Name, "err", f)
		last.explain(f)
	}
	_ = out.write(last) // whoever does not read it knows that the import broke off
	return streamed, nil
}

// lines writes JSON lines as they come.
type lines struct {
	to  *json.Encoder
	out *http.ResponseController
}

func (l lines) write(v importLine) error {
	if err := l.out.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if err := l.to.Encode(v); err != nil {
		return err
	}
	return l.out.Flush()
}
