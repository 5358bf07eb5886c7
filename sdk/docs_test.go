package deputy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every Go snippet of docs/sdk-go.md stands, line by line, in a program that is
// compiled: an example of this package, or what deputy init writes.
func TestThePageIsCompiled(t *testing.T) {
	examples, err := filepath.Glob("example_*test.go")
	if err != nil {
		t.Fatal(err)
	}
	const template = "../internal/scaffold/templates/go/main.go.txt"
	var programs []string
	for _, file := range append(examples, template) {
		programs = append(programs, plain(strings.ReplaceAll(read(t, file), "{{.Name}}", "secretary")))
	}
	all := strings.Join(programs, "\n")
	snippets := strings.Split(read(t, "../docs/sdk-go.md"), "```go\n")[1:]
	if len(snippets) < 12 {
		t.Errorf("the page has %d snippets only", len(snippets))
	}
	for _, rest := range snippets {
		snippet, _, closed := strings.Cut(rest, "```")
		if !closed || !strings.Contains(all, plain(snippet)) {
			t.Errorf("this is in no program that is compiled:\n%s", snippet)
		}
	}
}

// plain is a program without its indentation.
func plain(program string) string {
	var b strings.Builder
	for line := range strings.Lines(program) {
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	return strings.TrimSpace(b.String())
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
