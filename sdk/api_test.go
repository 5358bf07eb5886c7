package deputy_test

import (
	"bytes"
	"flag"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// What other people's programs are compiled against is in testdata/api.txt: a
// change of it is seen in review, and is in the changelog if it takes something
// away. That this package imports the standard library only, internal/map_test.go
// checks.
func TestExportedSurface(t *testing.T) {
	got := surface(t, "deputy", ".") + surface(t, "deputytest", "deputytest")
	golden := filepath.Join("testdata", "api.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil { //nolint:gosec // part of the repository
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	had, has := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for _, line := range had {
		if !slices.Contains(has, line) {
			t.Errorf("gone: %s", line)
		}
	}
	for _, line := range has {
		if !slices.Contains(had, line) {
			t.Errorf("new: %s", line)
		}
	}
	t.Error("the exported surface changed; if that is meant, run: go test ./sdk -run TestExportedSurface -update")
}

// surface lists the exported declarations of a package, one for each line and
// sorted, with their exported fields and without their comments.
func surface(t *testing.T, pkg, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.FileExports(parsed)
		for _, decl := range parsed.Decls {
			lines = append(lines, declared(t, decl)...)
		}
	}
	slices.Sort(lines)
	return "package " + pkg + "\n" + strings.Join(lines, "\n") + "\n\n"
}

// declared returns what a declaration declares.
func declared(t *testing.T, decl ast.Decl) []string {
	t.Helper()
	text := func(prefix string, node any) string {
		var b bytes.Buffer
		if err := (&printer.Config{Mode: printer.RawFormat}).Fprint(&b, token.NewFileSet(), node); err != nil {
			t.Fatal(err)
		}
		return prefix + strings.Join(strings.Fields(b.String()), " ")
	}
	f, ok := decl.(*ast.FuncDecl)
	if ok {
		if f.Recv != nil && !ast.IsExported(strings.TrimLeft(text("", f.Recv.List[0].Type), "*")) {
			return nil
		}
		f.Body = nil
		return []string{text("", f)}
	}
	var lines []string
	group, ok := decl.(*ast.GenDecl)
	if !ok || group.Tok == token.IMPORT {
		return nil
	}
	for _, spec := range group.Specs {
		s, ok := spec.(*ast.TypeSpec)
		if !ok {
			lines = append(lines, text(group.Tok.String()+" ", spec))
			continue
		}
		shape, ok := s.Type.(*ast.StructType)
		if !ok {
			lines = append(lines, text("type ", s))
			continue
		}
		// A struct's fields are lines of their own: one more is one line more.
		lines = append(lines, "type "+s.Name.Name+" struct")
		for _, field := range shape.Fields.List {
			for _, name := range field.Names {
				lines = append(lines, "type "+s.Name.Name+" struct, "+name.Name+" "+text("", field.Type))
			}
		}
	}
	return lines
}
