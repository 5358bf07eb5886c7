package agent

import "path"

// Kind is how an agent is started.
type Kind int

// The kinds.
const (
	Executable   Kind = iota // the entry point itself
	Script                   // the entry point, by sh
	PythonScript             // the entry point, by Python
	BuiltGo                  // what go build makes of the entry point's package
	BuiltScript              // what the entry point, a script, builds
)

// Kind returns how the agent is started.
func (d Definition) Kind() Kind {
	ext := path.Ext(d.EntryPoint)
	switch {
	case ext == ".py":
		return PythonScript
	case d.Language == Golang && ext == ".sh":
		return BuiltScript
	case ext == ".sh":
		return Script
	case d.Language == Golang || ext == ".go":
		return BuiltGo
	default:
		return Executable
	}
}

// GoPackage returns what go build is told: the package of a file, not the file
// alone, which may have others beside it. isDir tells that the entry point is a directory.
func (d Definition) GoPackage(isDir bool) string {
	if isDir {
		return "./" + d.EntryPoint
	}
	return "./" + path.Dir(d.EntryPoint)
}
