package kubernetes

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/kube"
	"github.com/deputy-id/deputy/internal/name"
)

const (
	maxPods     = 5       // whose logs are read, the newest
	maxLog      = 1 << 20 // bytes of a container's log
	maxLogLine  = 4 << 10
	followEvery = time.Second
)

// entry is a line of a pod's log.
type entry struct {
	pod  string
	at   time.Time
	said string
}

func (e entry) String() string {
	return e.at.UTC().Format("2006-01-02T15:04:05.000Z ") + name.Clip(name.Printable(e.said), maxLogLine)
}

// place is how far each pod's log was read. It is written "pod=nanoseconds,…".
type place map[string]time.Time

func (p place) String() string {
	var parts []string
	for pod, at := range p {
		parts = append(parts, pod+"="+strconv.FormatInt(at.UnixNano(), 10))
	}
	slices.Sort(parts)
	return "at:" + strings.Join(parts, ",")
}

func parsePlace(text string) (place, error) {
	list, ok := strings.CutPrefix(text, "at:")
	p := place{}
	for part := range strings.SplitSeq(list, ",") {
		pod, at, _ := strings.Cut(part, "=")
		nanos, err := strconv.ParseInt(at, 10, 64)
		if part != "" && (err != nil || pod == "" || nanos < 0) || !ok || len(p) > maxPods {
			return nil, fault.New(fault.Invalid, "log_place", "%q is no place in a log", name.Clip(text, 40)).WithFix("send what the stream gave as an id, or nothing")
		}
		if part != "" {
			p[pod] = time.Unix(0, nanos)
		}
	}
	return p, nil
}

// Logs implements fleet.Driver: the lines of the newest pods, and of their runs
// before the present ones, as far as Kubernetes has them.
func (d *Driver) Logs(ctx context.Context, w name.Workload, n int) ([]string, error) {
	lines, _, err := d.last(ctx, w, n)
	return lines, err
}

// last returns the last n lines, and the place behind them.
func (d *Driver) last(ctx context.Context, w name.Workload, n int) ([]string, place, error) {
	all, behind, err := d.read(ctx, w, place{}, n)
	all = all[max(0, len(all)-n):]
	return lines(all), behind, err
}

// Follow implements fleet.Driver. Kubernetes is asked every second; of an agent that
// writes more than a MiB in one, lines are lost.
func (d *Driver) Follow(ctx context.Context, w name.Workload, from string, n int) ([]string, string, error) {
	if from == "" {
		found, behind, err := d.last(ctx, w, n)
		return found, behind.String(), err
	}
	at, err := parsePlace(from)
	if err != nil {
		return nil, from, err
	}
	removed := d.untilRemoved(w)
	for {
		all, behind, err := d.read(ctx, w, at, 0)
		if err == nil && len(all) > n {
			// What is not taken now is read again the next time.
			behind = at
			for _, e := range all[:n] {
				behind[e.pod] = e.at
			}
			all = all[:n]
		}
		if err != nil || len(all) > 0 {
			return lines(all), behind.String(), err
		}
		at = behind
		next := time.NewTimer(followEvery)
		select {
		case <-next.C:
		case <-removed:
			next.Stop()
			return nil, from, agent.NotFound(w.Pool, w.Name)
		case <-ctx.Done():
			next.Stop()
			return nil, from, ctx.Err()
		}
	}
}

// untilRemoved returns a channel that is closed when the agent is removed.
func (d *Driver) untilRemoved(w name.Workload) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.removed == nil {
		d.removed = map[name.Workload]chan struct{}{}
	}
	if d.removed[w] == nil {
		d.removed[w] = make(chan struct{})
	}
	return d.removed[w]
}

func lines(all []entry) []string {
	list := make([]string, len(all))
	for i, e := range all {
		list[i] = e.String()
	}
	return list
}

// read returns the lines behind a place, in the order of their times, and the place
// behind those. last bounds the lines of each run; 0 for all.
func (d *Driver) read(ctx context.Context, w name.Workload, from place, last int) ([]entry, place, error) {
	list, err := d.podsOf(ctx, ObjectName(d.TrustDomain, w))
	if err != nil {
		return nil, nil, err
	}
	var all []entry
	behind := place{}
	for _, p := range list[:min(maxPods, len(list))] {
		since, known := from[p.Metadata.Name]
		if !known {
			since = time.Unix(0, 0)
		}
		at := kube.Object{Kind: pods, Namespace: d.Namespace, Name: p.Metadata.Name}
		restarted := slices.ContainsFunc(p.Status.Containers, func(c containerStatus) bool { return c.Restarts > 0 })
		for _, previous := range []bool{true, false} {
			if previous && !restarted {
				continue
			}
			text, err := d.Client.Log(ctx, at, kube.LogOptions{Lines: last, Since: since, Limit: maxLog, Previous: previous})
			// A pod that is gone meanwhile, or whose container has not begun, has said nothing.
			if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) {
				continue
			}
			if err != nil {
				return nil, nil, err
			}
			found := entries(at.Name, text)
			if len(found) > 0 && !found[len(found)-1].at.After(since) && len(text) >= maxLog {
				since = since.Truncate(time.Second).Add(time.Second) // a whole MiB of a second that was read
			}
			found = slices.DeleteFunc(found, func(e entry) bool { return !e.at.After(since) })
			if len(found) > 0 {
				since = found[len(found)-1].at
			}
			all = append(all, found...)
		}
		behind[at.Name] = since
	}
	slices.SortStableFunc(all, func(a, b entry) int { return a.at.Compare(b.at) })
	return all, behind, nil
}

// entries returns the whole lines of a log that Kubernetes wrote times before.
func entries(pod string, text []byte) []entry {
	var list []entry
	for line := range bytes.Lines(text) {
		at, said, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), " ")
		written, err := time.Parse(time.RFC3339Nano, at)
		if err != nil || len(text) >= maxLog && !bytes.HasSuffix(line, []byte("\n")) {
			continue // the bound cut it
		}
		list = append(list, entry{pod, written, said})
	}
	return list
}
