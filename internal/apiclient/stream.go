package apiclient

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
)

const (
	// silence is how long a stream may send nothing, heartbeats included, before it counts as broken. The
	// server sends one every 15 s.
	silence  = 45 * time.Second
	minPause = 500 * time.Millisecond
	maxPause = 10 * time.Second
)

var errSilent = errors.New("the stream was silent for too long")

// stopError is an error of the caller's own.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }

// follow calls each with every event of a stream, until ctx ends or each returns an
// error. A broken connection is made anew: from says each time what to ask for, so
// that nothing is lost. A refusal is returned.
func (c *Client) follow(ctx context.Context, path string, from func() url.Values, each func(Event) error) error {
	pause := minPause
	for {
		got, err := c.readStream(ctx, path, from(), each)
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

// readStream reads one stream to its end and reports whether anything came.
func (c *Client) readStream(ctx context.Context, path string, query url.Values, each func(Event) error) (got bool, err error) {
	ctx, hangUp := context.WithCancelCause(ctx)
	watchdog := time.AfterFunc(silence, func() { hangUp(errSilent) })
	defer hangUp(nil)
	defer watchdog.Stop()
	resp, err := c.send(ctx, http.MethodGet, path, query, nil, "text/event-stream")
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
		got = true
		if err := each(event); err != nil {
			return got, err
		}
	}
}
