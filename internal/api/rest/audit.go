package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

var auditQuery = append([]parameter{
	{"after", "integer", "Records after this sequence number"},
	{"limit", "integer", "At most this many, 1 to 1000; 100 if left out"},
	{"newest", "boolean", "The last records instead of the first"},
}, auditSelection...)

var followQuery = append([]parameter{
	{"after", "integer", "Records after this sequence number; only new ones if left out. The header Last-Event-ID goes before it"},
}, auditSelection...)

var auditSelection = []parameter{
	{"action", "string", "Only this action"},
	{"outcome", "string", "Only this outcome: allowed, refused or failed"},
	{"provider", "string", "Only this credential provider"},
	{"pool", "string", "Only resources of this pool"},
	{"workload", "string", "Only this caller, as pool/name"},
	{"subject", "string", "Only for the user with this subject"},
}

// recordJSON is a record of the chain; Entry is its canonical bytes.
type recordJSON struct {
	Seq   int64           `json:"seq"`
	Hash  string          `json:"hash"`
	Entry json.RawMessage `json:"entry"`
}

func record(r audit.Record) recordJSON {
	return recordJSON{r.Seq, r.Hash.String(), json.RawMessage(r.Leaf)}
}

func (c *call) auditFilter() (audit.Filter, error) {
	limit, err := c.number("limit", 100, 1, 1000)
	if err != nil {
		return audit.Filter{}, err
	}
	f := audit.Filter{Limit: limit, Action: c.query["action"], Outcome: audit.Outcome(c.query["outcome"]), Provider: c.query["provider"], Pool: c.query["pool"],
		Workload: c.query["workload"], Subject: c.query["subject"]}
	switch f.Outcome {
	case "", audit.Allowed, audit.Refused, audit.Failed:
	default:
		return f, fault.New(fault.Invalid, "parameter_invalid", "outcome=%s is not valid", name.Clip(string(f.Outcome), 40)).
			WithSource("outcome").WithFix("use %s, %s or %s", audit.Allowed, audit.Refused, audit.Failed)
	}
	if text, ok := c.query["after"]; ok {
		if f.After, err = sequence("after", text); err != nil {
			return f, err
		}
	}
	if text, ok := c.query["newest"]; ok {
		if f.Newest, err = strconv.ParseBool(text); err != nil {
			return f, fault.New(fault.Invalid, "parameter_invalid", "newest is not true or false").WithSource("newest")
		}
	}
	return f, nil
}

func sequence(source, text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fault.New(fault.Invalid, "parameter_invalid", "%s is not a sequence number", source).WithSource(source)
	}
	return n, nil
}

func (a *API) listAudit(c *call) (any, error) {
	f, err := c.auditFilter()
	if err != nil {
		return nil, err
	}
	records, err := a.Audit.AuditRecords(c.ctx, f)
	l := listOf(records, record)
	if !f.Newest && len(records) == f.Limit {
		l.Next = strconv.FormatInt(records[len(records)-1].Seq, 10)
	}
	return l, err
}

// followInterval is how often the log is looked at for what other replicas
// appended.
const followInterval = time.Second

// followAudit sends the records that match, from "after" on (without it, only
// new ones), and goes on until the client leaves.
func (a *API) followAudit(c *call) (any, error) {
	f, err := c.auditFilter()
	if err != nil {
		return nil, err
	}
	return a.follow(c, f, func(s *stream, r audit.Record) error {
		return s.event("record", strconv.FormatInt(r.Seq, 10), record(r))
	})
}

// follow calls send with each record that matches, for a stream that goes on
// until the client leaves.
func (a *API) follow(c *call, f audit.Filter, send func(*stream, audit.Record) error) (any, error) {
	var err error
	_, given := c.query["after"]
	// Whoever reconnects asks the same again and says in the header how far he came (WHATWG HTML, section 9.2.4).
	if last := c.r.Header.Get("Last-Event-ID"); last != "" {
		if f.After, err = sequence("Last-Event-ID", last); err != nil {
			return nil, err
		}
		given = true
	}
	grown, stop := a.Audit.Listen()
	defer stop()
	if !given {
		last, err := a.Audit.AuditRecords(c.ctx, audit.Filter{Newest: true, Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(last) == 1 {
			f.After = last[0].Seq
		}
	}
	s := newStream(c)
	defer s.close()
	if c.r.Method == http.MethodHead { // there is no body to follow
		return streamed, nil
	}
	tick := time.NewTicker(followInterval)
	defer tick.Stop()
	for {
		if err := a.sendAudit(c.ctx, s, &f, send); err != nil {
			return streamed, nil // the client is gone, or sees the stream end and follows anew
		}
		select {
		case <-grown:
		case <-tick.C:
		case <-c.ctx.Done():
			return streamed, nil
		}
	}
}

// sendAudit sends what there is after f.After, and moves it.
func (a *API) sendAudit(ctx context.Context, s *stream, f *audit.Filter, send func(*stream, audit.Record) error) error {
	for {
		records, err := a.Audit.AuditRecords(ctx, *f)
		if err != nil {
			return err
		}
		for _, r := range records {
			if err := send(s, r); err != nil {
				return err
			}
			f.After = r.Seq
		}
		if len(records) < f.Limit {
			return nil
		}
	}
}

// chainJSON tells whether the chain holds.
type chainJSON struct {
	OK      bool   `json:"ok"`
	Records int64  `json:"records" doc:"How many were checked and hold"`
	Hash    string `json:"hash" doc:"Of the last one that holds; keep it elsewhere to notice a chain that was written anew"`
	Broken  int64  `json:"broken,omitempty" doc:"Sequence number at which the chain breaks"`
}

// verifyAudit recomputes the chain in bounded steps.
func (a *API) verifyAudit(c *call) (any, error) {
	var hash audit.Hash
	var seq int64
	for {
		records, err := a.Audit.AuditRecords(c.ctx, audit.Filter{After: seq, Limit: 1000})
		if err != nil {
			return nil, err
		}
		if len(records) == 0 {
			return chainJSON{OK: true, Records: seq, Hash: hash.String()}, nil
		}
		for _, r := range records {
			next := hash.Next(seq+1, r.Leaf)
			if r.Seq != seq+1 || next != r.Hash {
				return chainJSON{Records: seq, Hash: hash.String(), Broken: seq + 1}, nil
			}
			seq, hash = r.Seq, next
		}
	}
}
