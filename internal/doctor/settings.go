package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/deputy-id/deputy/internal/dotenv"
)

// Setting is one setting of Deputy as it would be used now.
type Setting struct {
	Name     string // as a flag, "--listen"
	Variable string // of the environment that it may come from; may be empty
	Value    string // what people may see of it; "" is not set
	Source   string // "flag", "environment" or "default"
}

// Settings tells where each setting comes from, and where the environment and
// the .env file in dir differ. Deputy itself does not read .env files; agents'
// libraries do, and take what the environment has first, which is how one calls
// with other keys than the file says.
func Settings(ctx context.Context, settings []Setting, dir string, environment func(string) (string, bool), tell Report) error {
	e := examination{ctx, "settings", tell}
	for _, s := range settings {
		if s.Value == "" {
			continue
		}
		if err := e.tell(Finding{Area: e.area, State: Note, Text: s.Name + " is " + s.Value, Source: s.Source}); err != nil {
			return err
		}
	}
	path := filepath.Join(dir, ".env")
	file, err := dotenv.Read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return e.problem(".env", err)
	}
	own := map[string]string{}
	for _, s := range settings {
		own[s.Variable] = s.Name
	}
	for _, variable := range slices.Sorted(maps.Keys(file)) {
		value, set := environment(variable)
		switch {
		case set && value != file[variable]:
			err = e.warn(fmt.Sprintf("%s differs between the environment and %s, and the environment wins", variable, path),
				"unset "+variable+" in the shell, or make both the same", "environment, .env")
		case !set && own[variable] != "" && variable != "":
			err = e.warn(fmt.Sprintf("%s is in %s only, which deputy does not read", variable, path),
				fmt.Sprintf("export it, or give %s", own[variable]), ".env")
		}
		if err != nil {
			return err
		}
	}
	return e.looseDotEnv(path)
}

// looseDotEnv warns of a file with secrets that others may read.
func (e examination) looseDotEnv(path string) error {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return nil // it was read a moment ago
	}
	return e.warn(fmt.Sprintf("%s may be read by others (mode %04o)", path, info.Mode().Perm()), "run: chmod 600 "+path, ".env")
}
