package apiclient

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
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

const (
	// silence is how long a stream may send nothing, heartbeats included, before it counts as broken. The
	// server sends one every 15 s.
	silence  = 45 * time.Second
	minPause = 500 * time.Millisecond
	maxPause = 10 * time.Second
)

var errSilent = errors.New("the stream was silent for too long")

// FollowAudit calls each with every record behind f.After that f selects, those
// that are there and those that come, until ctx ends or each returns an error,
// which it returns. A broken connection is made anew, with nothing lost and
// nothing twice; a refusal is returned. Limit and Newest of f have no meaning.
func (c *Client) FollowAudit(ctx context.Context, f audit.Filter, each func(Record) error) error {
	f.Newest, f.Limit = false, 0
	pause := minPause
	for {
		got, err := c.follow(ctx, &f, each)
		var stop *stopError
		switch {
		case errors.As(err, &stop):
			return stop.err
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Throttled):
			return err
		}
		if got {
			pause = minPause
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, maxPause)
	}
}

// stopError is an error of the caller's own.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }

// follow reads one stream to its end and moves f.After behind what it has read.
// It reports whether anything came.
func (c *Client) follow(ctx context.Context, f *audit.Filter, each func(Record) error) (got bool, err error) {
	ctx, hangUp := context.WithCancelCause(ctx)
	watchdog := time.AfterFunc(silence, func() { hangUp(errSilent) })
	defer hangUp(nil)
	defer watchdog.Stop()
	from := query(*f)
	from.Set("after", strconv.FormatInt(f.After, 10)) // also when it is 0: the server takes none for "from now on"
	resp, err := c.send(ctx, http.MethodGet, "/audit/stream", from, nil, "text/event-stream")
	if err != nil {
		return false, err
	}
	defer resp.Body.Close() // read to its end, or hung up
	events := NewEvents(resp.Body)
	events.Beat = func() { watchdog.Reset(silence) }
	for {
		event, err := events.Next()
		switch {
		case errors.Is(err, io.EOF):
			return got, nil
		case fault.HasCode(err, "event_too_large"):
			return got, err
		case err != nil:
			return got, fault.Wrap(err, fault.Unavailable, "stream_broken", "the connection to %s broke", c.config.URL)
		}
		var record Record
		if err := wire.DecodeForeign(event.Data, &record); err != nil {
			return got, err
		}
		if record.Seq <= f.After {
			continue // it was there before the connection broke
		}
		got = true
		if err := each(record); err != nil {
			return got, &stopError{err}
		}
		f.After = record.Seq
	}
}
