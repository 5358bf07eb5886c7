package apiclient

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/wire"
)

// Record is an entry of the audit log with its place in the chain.
type Record struct {
	Seq   int64       `json:"seq"`
	Hash  string      `json:"hash"` // the chain after this entry
	Entry audit.Entry `json:"entry"`
}

// query returns what of f is set.
func query(f audit.Filter) url.Values {
	v := url.Values{}
	for key, value := range map[string]string{
		"action": f.Action, "outcome": string(f.Outcome), "provider": f.Provider, "pool": f.Pool, "workload": f.Workload, "subject": f.Subject,
	} {
		if value != "" {
			v.Set(key, value)
		}
	}
	if f.After > 0 {
		v.Set("after", strconv.FormatInt(f.After, 10))
	}
	if f.Newest {
		v.Set("newest", "true")
	}
	if f.Limit > 0 {
		v.Set("limit", strconv.Itoa(f.Limit))
	}
	return v
}

// Audit returns the records that f selects, in the order of the chain; without a
// limit the server's default is used.
func (c *Client) Audit(ctx context.Context, f audit.Filter) ([]Record, error) {
	var all list[Record]
	err := c.call(ctx, http.MethodGet, "/audit", query(f), nil, &all)
	return all.Items, err
}

// Chain tells whether the audit log's hash chain holds.
type Chain struct {
	OK      bool   `json:"ok"`
	Records int64  `json:"records"`          // how many were checked and hold
	Hash    string `json:"hash"`             // of the last one that holds
	Broken  int64  `json:"broken,omitempty"` // the place of the first one that does not
}

// VerifyAudit lets the server recompute the chain from its beginning.
func (c *Client) VerifyAudit(ctx context.Context) (Chain, error) {
	var chain Chain
	err := c.call(ctx, http.MethodGet, "/audit/verify", nil, nil, &chain)
	return chain, err
}

// FollowAudit calls each with every record behind f.After that f selects, those
// that are there and those that come, until ctx ends or each returns an error,
// which it returns. A broken connection is made anew, with nothing lost and
// nothing twice; a refusal is returned. Limit and Newest of f have no meaning.
func (c *Client) FollowAudit(ctx context.Context, f audit.Filter, each func(Record) error) error {
	f.Newest, f.Limit = false, 0
	from := func() url.Values {
		q := query(f)
		q.Set("after", strconv.FormatInt(f.After, 10)) // also when it is 0: the server takes none for "from now on"
		return q
	}
	return c.follow(ctx, "/audit/stream", from, func(event Event) error {
		var record Record
		if err := wire.DecodeForeign(event.Data, &record); err != nil {
			return err
		}
		if record.Seq <= f.After {
			return nil // it was there before the connection broke
		}
		if err := each(record); err != nil {
			return &stopError{err}
		}
		f.After = record.Seq
		return nil
	})
}
