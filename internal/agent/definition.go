package agent

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
)

// Definition is what an agentkit.yaml says about an agent, as far as Deputy
// uses it.
type Definition struct {
	Name             string      `json:"name"`
	EntryPoint       string      `json:"entryPoint"` // relative path inside the agent's directory, with slashes
	Description      string      `json:"description,omitempty"`
	Language         Language    `json:"language"`
	LanguageVersion  string      `json:"languageVersion,omitempty"`
	Type             string      `json:"type,omitempty"`
	DependenciesFile string      `json:"dependenciesFile,omitempty"`
	LaunchType       LaunchType  `json:"launchType"`
	Env              Environment `json:"env,omitempty"`
	Inbound          Inbound     `json:"inbound"`
	Paths            Paths       `json:"paths,omitempty"`
	Image            Image       `json:"image,omitzero"`
	// IdleTimeout is after how long without a call the agent is stopped until the next one; 0: never.
	IdleTimeout time.Duration `json:"idleTimeout,omitempty"`
}

// Language is the programming language that an agent is written in.
type Language string

// The languages of agentkit.yaml.
const (
	Python Language = "Python"
	Golang Language = "Golang"
)

// LaunchType selects the block of agentkit.yaml below launch_types.
type LaunchType string

// The launch types of agentkit.yaml.
const (
	Local  LaunchType = "local"
	Hybrid LaunchType = "hybrid"
	Cloud  LaunchType = "cloud"
)

// Environment is the variables that an agent gets besides those of the runtime.
// People put keys into it in spite of the warning, so it prints its names only.
type Environment map[string]string

// Names returns the names of the variables, sorted.
func (e Environment) Names() []string { return slices.Sorted(maps.Keys(e)) }

// String lists the names, never the values.
func (e Environment) String() string { return "[" + strings.Join(e.Names(), " ") + "]" }

// Format implements [fmt.Formatter]: no verb reaches the values.
func (e Environment) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, e.String()) }

// LogValue implements [slog.LogValuer] and shows the names only.
func (e Environment) LogValue() slog.Value { return slog.AnyValue(e.Names()) }

// Warning says that a field of agentkit.yaml has no effect, or one that the
// author may not want.
type Warning struct {
	Field  string `json:"field"` // "launch_types.cloud.tos_bucket"
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

// String returns "field (line 3): reason".
func (w Warning) String() string { return fmt.Sprintf("%s (line %d): %s", w.Field, w.Line, w.Reason) }
