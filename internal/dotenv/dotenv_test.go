package dotenv_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/dotenv"
	"github.com/deputy-id/deputy/internal/fault"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"":                              {},
		"A=1":                           {"A": "1"},
		"export A=1\r\n B = two words ": {"A": "1", "B": "two words"},
		"A='x # y'\nB=\"x\" # y\nC=x # y\nD=x#y\nE=": {"A": "x # y", "B": "x", "C": "x", "D": "x#y", "E": ""},
		"A=$HOME":                  {"A": "$HOME"},
		"A='it\nB=x=y":             {"A": "'it", "B": "x=y"},
		"A=1\nA=2":                 {"A": "2"},
		"#A=1\n=x\nA-B=c\n1A=x\nA": {},
	} {
		if got := dotenv.Parse([]byte(text)); !maps.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	for what, text := range map[string]string{"large": strings.Repeat("A=1\n", dotenv.MaxSize/4) + "B", "good": "A=1\n"} {
		if err := os.WriteFile(filepath.Join(dir, what), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := dotenv.Read(filepath.Join(dir, "good")); err != nil || got["A"] != "1" {
		t.Errorf("%v %v", got, err)
	}
	if _, err := dotenv.Read(filepath.Join(dir, "none")); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
	for _, path := range []string{filepath.Join(dir, "large"), dir} {
		if _, err := dotenv.Read(path); !fault.HasCode(err, "dotenv_unreadable") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("A=1\nexport B='2'\n#c\n"))
	f.Add([]byte("A=\"\nB=' # '\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for variable, value := range dotenv.Parse(text) {
			if strings.ContainsAny(variable+value, "\n") || len(variable)+len(value) > len(text) {
				t.Errorf("%q=%q", variable, value)
			}
		}
	})
}
