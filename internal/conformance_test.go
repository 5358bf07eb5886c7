package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	leastDemands = 100 // in docs/conformance.md
	leastHostile = 120 // cases in tables
)

var namedTest = regexp.MustCompile("`([a-z]+)\\.((?:Test|Fuzz)[A-Za-z0-9]+)`")

// TestConformance: every demand in docs/conformance.md is held by tests that are
// there, and its tables of hostile input are as long as it says.
func TestConformance(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "conformance.md"))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]map[string]*ast.FuncDecl{} // by package
	demands, hostile := 0, map[*ast.FuncDecl]int{}
	lines := strings.Split(string(page), "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|--") || i+1 < len(lines) && strings.HasPrefix(lines[i+1], "|--") {
			continue // no row, or the head of a table
		}
		cells := strings.Split(line, "|")
		if len(cells) < 4 || strings.TrimSpace(cells[len(cells)-1]) != "" {
			t.Errorf("line %d: not a row: %q", i+1, line)
			continue
		}
		named := namedTest.FindAllStringSubmatch(cells[len(cells)-2], -1)
		if len(named) == 0 || len(named) != len(strings.Fields(cells[len(cells)-2])) {
			t.Errorf("line %d: %q does not name tests only", i+1, cells[len(cells)-2])
		}
		demands++
		for _, n := range named {
			pkg, name := n[1], n[2]
			if tests[pkg] == nil {
				tests[pkg] = testsOf(t, pkg)
			}
			f := tests[pkg][name]
			if f == nil {
				t.Errorf("line %d: there is no %s in internal/%s", i+1, name, pkg)
			} else if skips(f) {
				t.Errorf("line %d: internal/%s skips %s", i+1, pkg, name)
			} else if strings.HasPrefix(name, "TestHostile") {
				hostile[f] = cases(f)
			}
		}
	}
	total := 0
	for _, n := range hostile {
		total += n
	}
	if demands < leastDemands || total < leastHostile {
		t.Errorf("%d demands and %d hostile cases; want at least %d and %d", demands, total, leastDemands, leastHostile)
	}
	t.Logf("%d demands, %d hostile cases", demands, total)
}

// skips reports whether a test may leave itself out, which holds nothing.
func skips(f *ast.FuncDecl) bool {
	found := false
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && (s.Sel.Name == "Skip" || s.Sel.Name == "Skipf" || s.Sel.Name == "SkipNow") {
			found = true
		}
		return !found
	})
	return found
}

// testsOf returns the functions that go test runs of a package under internal:
// those of files for every machine, with the one parameter.
func testsOf(t *testing.T, pkg string) map[string]*ast.FuncDecl {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*ast.FuncDecl{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(parsed.Comments, func(c *ast.CommentGroup) bool { return strings.HasPrefix(c.List[0].Text, "//go:build") }) {
			continue
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && len(f.Type.Params.List) == 1 {
				found[f.Name.Name] = f
			}
		}
	}
	return found
}

// cases counts the rows of a test's tables: what has a name in a map, or begins
// with one in a list.
func cases(f *ast.FuncDecl) int {
	n := 0
	ast.Inspect(f, func(node ast.Node) bool {
		table, ok := node.(*ast.CompositeLit)
		if !ok {
			return true
		}
		switch kind := table.Type.(type) {
		case *ast.MapType:
			if _, isStruct := kind.Value.(*ast.StructType); isStruct {
				n += len(table.Elts)
				return false
			}
		case *ast.ArrayType:
			if _, isStruct := kind.Elt.(*ast.StructType); isStruct {
				n += len(table.Elts)
				return false
			}
		}
		return true
	})
	return n
}
