// Package doctor looks for what is wrong: in the settings and files of this machine, and in what a running Deputy is set up to use.
//
// It changes nothing. What it says of settings is where each comes from, never
// what a secret is.
package doctor

import (
	"context"

	"github.com/deputy-id/deputy/internal/fault"
)

// State is how bad a finding is.
type State string

// The states.
const (
	Fine    State = "ok"
	Note    State = "note"    // worth knowing, and nothing to do
	Warning State = "warning" // it works, or may, and not as somebody expects
	Problem State = "problem" // it does not work
)

// Finding is one thing that was looked at.
type Finding struct {
	Area   string `json:"area"` // "settings", "files", "service", …
	State  State  `json:"state"`
	Text   string `json:"text"`
	Fix    string `json:"fix,omitempty"`
	Source string `json:"source,omitempty"` // the setting that it is about
}

// Report takes findings, as they are made.
type Report func(Finding) error

// examination is what one area is looked at with.
type examination struct {
	ctx  context.Context
	area string
	tell Report
}

func (e examination) fine(text string) error {
	return e.tell(Finding{Area: e.area, State: Fine, Text: text})
}

func (e examination) warn(text, fix, source string) error {
	return e.tell(Finding{Area: e.area, State: Warning, Text: text, Fix: fix, Source: source})
}

// problem tells of an error, with what it is about in front.
func (e examination) problem(what string, err error) error {
	f := fault.As(err)
	return e.tell(Finding{Area: e.area, State: Problem, Text: what + ": " + f.Message, Fix: f.Fix, Source: f.Source})
}
