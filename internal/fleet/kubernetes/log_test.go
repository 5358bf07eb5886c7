package kubernetes

import (
	"maps"
	"strings"
	"testing"
	"time"
)

// FuzzPlace: a place that is understood is written as it was meant.
func FuzzPlace(f *testing.F) {
	f.Add("at:")
	f.Add("at:pod-1=1767225600000000000,pod-2=5")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePlace(text)
		if err != nil {
			return
		}
		again, err := parsePlace(p.String())
		if err != nil || !maps.EqualFunc(p, again, time.Time.Equal) {
			t.Errorf("%q is %v, and then %v, %v", text, p, again, err)
		}
	})
}

// FuzzEntries: whatever a pod writes, a line stays one line that a terminal can show.
func FuzzEntries(f *testing.F) {
	f.Add([]byte("2026-01-01T00:00:00.5Z hello\n\x1b[2J\n2026-01-01T00:00:00Z"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, e := range entries("pod", text) {
			if s := e.String(); strings.ContainsAny(s, "\n\r\x1b\x00") || len(s) > 4*maxLogLine {
				t.Errorf("%q", s)
			}
		}
	})
}
