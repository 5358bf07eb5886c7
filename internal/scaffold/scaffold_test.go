package scaffold_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/scaffold"
)

func settings(template string) scaffold.Settings {
	return scaffold.Settings{
		Template: template, Name: "greeter", Description: `says "hello": # always`, DiscoveryURL: "https://login.example/.well-known/openid-configuration",
		Clients: []string{"chat", "it's: [two]"}, SDKVersion: "v1.2.3",
	}
}

func TestWrite(t *testing.T) {
	for _, template := range scaffold.Templates() {
		t.Run(template.Name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new", "greeter")
			files, err := scaffold.Write(dir, settings(template.Name))
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(filepath.Join(dir, "agentkit.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			d, warnings, err := agent.Parse(text)
			if err != nil || len(warnings) != 0 || d.Name != "greeter" || d.Description != settings("").Description {
				t.Fatalf("%+v %v %v\n%s", d, warnings, err, text)
			}
			if _, err := os.Stat(filepath.Join(dir, d.EntryPoint)); err != nil {
				t.Error(err)
			}
			// What is there stays, whichever file it is.
			for _, file := range files {
				other := t.TempDir()
				if err := os.WriteFile(filepath.Join(other, file), []byte("mine"), 0o600); err != nil {
					t.Fatal(err)
				}
				if _, err := scaffold.Write(other, settings(template.Name)); !fault.HasCode(err, "file_exists") {
					t.Errorf("%s: %v", file, err)
				}
				left, err := os.ReadDir(other)
				if err != nil || len(left) != 1 {
					t.Errorf("%s: %v %v", file, left, err)
				}
			}
			s := settings(template.Name)
			s.Overwrite = true
			if _, err := scaffold.Write(dir, s); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWriteRefuses(t *testing.T) {
	for code, change := range map[string]func(*scaffold.Settings){
		"template_unknown": func(s *scaffold.Settings) { s.Template = "pyton" },
		"name_invalid":     func(s *scaffold.Settings) { s.Name = "../x" },
		"agentkit_invalid": func(s *scaffold.Settings) { s.DiscoveryURL = "login.example" },
	} {
		s := settings("go")
		change(&s)
		dir := filepath.Join(t.TempDir(), "new")
		_, err := scaffold.Write(dir, s)
		if !strings.Contains(code, fault.As(err).Code) && fault.As(err).Kind != fault.Invalid {
			t.Errorf("%s: %v", code, err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: something was written", code)
		}
	}
}
