package kubernetes

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/kube"
	"github.com/deputy-id/deputy/internal/name"
)

const (
	maxPods    = 5       // whose logs are read, the newest
	maxLog     = 1 << 20 // bytes of a container's log
	maxLogLine = 4 << 10
	timeLayout = "2006-01-02T15:04:05.000Z"
)

// Logs implements fleet.Driver: the lines of the newest pods, and of their runs
// before the present ones, as far as Kubernetes has them.
func (d *Driver) Logs(ctx context.Context, w name.Workload, n int) ([]string, error) {
	all, err := d.podsOf(ctx, ObjectName(d.TrustDomain, w))
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, p := range all[:min(maxPods, len(all))] {
		at := kube.Object{Kind: pods, Namespace: d.Namespace, Name: p.Metadata.Name}
		restarted := slices.ContainsFunc(p.Status.Containers, func(c containerStatus) bool { return c.Restarts > 0 })
		for _, previous := range []bool{true, false} {
			if previous && !restarted {
				continue
			}
			text, err := d.Client.Log(ctx, at, n, maxLog, previous)
			// A pod that is gone meanwhile, or whose container has not begun, has said nothing.
			if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) {
				continue
			}
			if err != nil {
				return nil, err
			}
			lines = append(lines, entries(text)...)
		}
	}
	slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(a[:len(timeLayout)], b[:len(timeLayout)]) })
	return slices.Clone(lines[max(0, len(lines)-n):]), nil
}

// entries returns the lines of a log that Kubernetes wrote times before, in the form
// that all of Deputy's logs of agents have.
func entries(text []byte) []string {
	lines := []string{}
	for line := range bytes.Lines(text) {
		at, said, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), " ")
		written, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			continue // the bound cut it
		}
		lines = append(lines, written.UTC().Format(timeLayout)+" "+name.Clip(name.Printable(said), maxLogLine))
	}
	return lines
}
