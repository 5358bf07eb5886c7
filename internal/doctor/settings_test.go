package doctor_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/doctor"
)

// examine runs one look in a directory with that .env file, and returns what it
// says but for notes.
func examine(t *testing.T, dotEnv string, mode os.FileMode, environment map[string]string) []doctor.Finding {
	t.Helper()
	dir := t.TempDir()
	if dotEnv != "" {
		path := filepath.Join(dir, ".env")
		if err := os.WriteFile(path, []byte(dotEnv), mode); err != nil {
			t.Fatal(err)
		}
	}
	var found []doctor.Finding
	settings := []doctor.Setting{{Name: "--listen", Variable: "DEPUTY_LISTEN", Value: "127.0.0.1:8080", Source: "default"}, {Name: "--database", Variable: "DEPUTY_DATABASE"}}
	err := doctor.Settings(t.Context(), settings, dir, func(k string) (string, bool) { v, ok := environment[k]; return v, ok }, func(f doctor.Finding) error {
		if f.State != doctor.Note {
			found = append(found, f)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestDotEnv(t *testing.T) {
	const secret = "AK-that-nobody-may-see"
	file := "# keys\nexport VOLCENGINE_ACCESS_KEY='" + secret + "'\nVOLCENGINE_SECRET_KEY=\"same # value\"\nDEPUTY_DATABASE = postgres://x\nDEPUTY_LISTEN=127.0.0.1:9 # a comment\nnonsense\n=x\nA-B=c\n"
	for what, c := range map[string]struct {
		file        string
		mode        os.FileMode
		environment map[string]string
		want        []string
	}{
		"no file":    {"", 0o600, map[string]string{"VOLCENGINE_ACCESS_KEY": "other"}, nil},
		"the same":   {file, 0o600, map[string]string{"VOLCENGINE_ACCESS_KEY": secret, "VOLCENGINE_SECRET_KEY": "same # value", "DEPUTY_DATABASE": "postgres://x", "DEPUTY_LISTEN": "127.0.0.1:9"}, nil},
		"different":  {file, 0o600, map[string]string{"VOLCENGINE_ACCESS_KEY": "other", "DEPUTY_DATABASE": "postgres://x", "DEPUTY_LISTEN": "127.0.0.1:9"}, []string{"VOLCENGINE_ACCESS_KEY differs"}},
		"not read":   {file, 0o600, nil, []string{"DEPUTY_DATABASE is in", "DEPUTY_LISTEN is in"}},
		"for others": {"A=1\n", 0o644, nil, []string{"may be read by others (mode 0644)"}},
	} {
		t.Run(what, func(t *testing.T) {
			found := examine(t, c.file, c.mode, c.environment)
			if len(found) != len(c.want) {
				t.Fatalf("found %+v, want %v", found, c.want)
			}
			for i, f := range found {
				if f.State != doctor.Warning || !strings.Contains(f.Text, c.want[i]) || f.Fix == "" || strings.Contains(f.Text+f.Fix+f.Source, secret) {
					t.Errorf("found %+v, want %s", f, c.want[i])
				}
			}
		})
	}
}

func TestDotEnvThatIsNone(t *testing.T) {
	if found := examine(t, strings.Repeat("A=1\n", 1<<18+1), 0o600, nil); len(found) != 1 || found[0].State != doctor.Problem {
		t.Errorf("a file that is too large: %+v", found)
	}
}

// FuzzDotEnv: whatever is in the file, it is read without harm, and no value is
// told.
func FuzzDotEnv(f *testing.F) {
	f.Add("A=1\nexport B='2'\n#c\n", "A")
	f.Add("A=\"\nB=' # '\x00", "B")
	f.Fuzz(func(t *testing.T, file, variable string) {
		if file == "" {
			t.Skip()
		}
		for _, found := range examine(t, file, 0o600, map[string]string{variable: "value-of-the-environment"}) {
			if strings.Contains(found.Text+found.Fix, "value-of-the-environment") {
				t.Errorf("told %+v", found)
			}
		}
	})
}
