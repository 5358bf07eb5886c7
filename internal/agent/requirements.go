package agent

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
)

// maxRequirements bounds a dependencies file, in bytes.
const maxRequirements = 1 << 20

// Requirements returns the content of the dependencies file of an agent in Python
// whose files are in directory; empty if it needs no packages.
func (d Definition) Requirements(directory string) ([]byte, error) {
	file := d.DependenciesFile
	if file == "" {
		return nil, nil
	}
	bad := func(err error, why string) error {
		return fault.Wrap(err, fault.Invalid, "agent_dependencies", "the dependencies file %s %s", file, why).WithSource("agentkit.yaml: common.dependencies_file")
	}
	f, err := os.Open(filepath.Join(directory, filepath.FromSlash(file)))
	if errors.Is(err, fs.ErrNotExist) && file == "requirements.txt" {
		return nil, nil // the name that is filled in by others, also where there is no such file
	}
	if err != nil {
		return nil, bad(err, "cannot be read")
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxRequirements+1))
	switch {
	case err != nil:
		return nil, bad(err, "cannot be read")
	case len(text) > maxRequirements:
		return nil, bad(nil, "is larger than a megabyte")
	}
	needs := func(line string) bool { return line != "" && !strings.HasPrefix(line, "#") }
	if !slices.ContainsFunc(slices.Collect(strings.SplitSeq(string(text), "\n")), func(l string) bool { return needs(strings.TrimSpace(l)) }) {
		return nil, nil
	}
	return text, nil
}
