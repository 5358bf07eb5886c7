package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

// versionCommand is deputy version.
type versionCommand struct{}

// Run implements kong's command.
func (versionCommand) Run(o output) error {
	v := struct {
		Version string `json:"version"`
		Commit  string `json:"commit,omitempty"`
		Changed bool   `json:"changed,omitempty"` // built from files that differ from the commit
		Go      string `json:"go"`
		System  string `json:"system"`
	}{Version: version(), Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Commit = s.Value
			case "vcs.modified":
				v.Changed = s.Value == "true"
			}
		}
	}
	return o.print(v, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "deputy %s (%s, %s)\n", v.Version, v.Go, v.System)
		if err == nil && v.Commit != "" {
			_, err = fmt.Fprintf(w, "commit %s\n", v.Commit)
		}
		return err
	})
}

// version is the module's version as the go command stamped it, or "devel".
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
