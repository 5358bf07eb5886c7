package e2e_test

import (
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	demos "github.com/deputy-id/deputy/internal/demo"
	"github.com/deputy-id/deputy/internal/freeport"
)

// TestExamples has each example run by its one command, with a sandbox of its third
// party, and somebody who talks to it.
func TestExamples(t *testing.T) {
	program := filepath.Join(t.TempDir(), "deputy")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../cmd/deputy")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, example := range demos.ExampleNames() {
		t.Run(example, func(t *testing.T) {
			ports, err := freeport.Find(4)
			if err != nil {
				t.Fatal(err)
			}
			args := []string{"demo", "--example", example, "--headless", "--examples", "../../examples", "--data", filepath.Join(t.TempDir(), "data")}
			for i, flag := range []string{"--listen", "--ingress-listen", "--chat-listen", "--sandbox-listen"} {
				args = append(args, flag, net.JoinHostPort("127.0.0.1", ports[i]))
			}
			out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "steps held.") || strings.Contains(string(out), "✗") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
