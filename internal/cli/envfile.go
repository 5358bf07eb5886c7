package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/deputy-id/deputy/internal/fault"
)

// envFile is a new .env file for an application, which gets a secret without
// anybody seeing it.
type envFile struct {
	path string
	file *os.File // nil: none is wanted
}

// newEnvFile makes the file, which nobody else may read, so that a path that will
// not do is known before there is a secret.
func newEnvFile(path string) (*envFile, error) {
	if path == "" {
		return &envFile{}, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fault.New(fault.Conflict, "env_file_exists", "%s is there already", path).WithSource("--env-file").WithFix("name a new file, or delete this one if nothing in it is needed")
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "env_file_unwritable", "%s cannot be written", path).WithSource("--env-file")
	}
	return &envFile{path, f}, nil
}

// write fills the file in with names and values; those without a value are left out.
func (e *envFile) write(lines [][2]string) error {
	for _, l := range lines {
		if l[1] == "" {
			continue
		}
		if _, err := fmt.Fprintf(e.file, "%s='%s'\n", l[0], l[1]); err != nil {
			return err
		}
	}
	err := e.file.Close()
	e.file = nil
	return err
}

// abandon removes a file that was not filled in.
func (e *envFile) abandon() {
	if e.file != nil {
		_ = e.file.Close()
		_ = os.Remove(e.path)
	}
}
