package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// heartbeat is how often a stream without events shows that it is alive.
const heartbeat = 15 * time.Second

// writeLimit is how long one event may take to be written: whoever follows and
// does not read may not hold on to a connection for ever.
const writeLimit = 30 * time.Second

// stream is an answer of server-sent events (WHATWG HTML, section 9.2).
type stream struct {
	mu   sync.Mutex // heartbeats come between events
	w    http.ResponseWriter
	out  *http.ResponseController
	stop chan struct{}
	done sync.WaitGroup
}

// newStream begins the answer, which the client sees at once: it knows then that
// it misses nothing from now on. Its close must be called.
func newStream(c *call) *stream {
	h := c.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no")
	c.w.WriteHeader(http.StatusOK)
	s := &stream{w: c.w, out: http.NewResponseController(c.w), stop: make(chan struct{})}
	_ = s.write("") // whoever writes the first event sees it too
	s.done.Go(s.beat)
	return s
}

func (s *stream) beat() {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if s.write(": alive\n\n") != nil {
				return // whoever writes the next event sees it too
			}
		case <-s.stop:
			return
		}
	}
}

func (s *stream) close() {
	close(s.stop)
	s.done.Wait()
}

func (s *stream) write(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.out.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := fmt.Fprint(s.w, text); err != nil {
		return err
	}
	return s.out.Flush()
}

// event sends one event. An error means that nobody reads any more.
func (s *stream) event(kind, id string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if id != "" {
		id = "id: " + id + "\n"
	}
	return s.write("event: " + kind + "\n" + id + "data: " + string(data) + "\n\n")
}
