package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	leastDemands = 60  // in docs/conformance.md
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
	for i, line := range strings.Split(string(page), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || strings.HasPrefix(cells[1], "--") || strings.Contains(cells[len(cells)-2], "test") && !strings.Contains(line, "`") {
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

// testsOf returns the test functions of a package under internal.
func testsOf(t *testing.T, pkg string) map[string]*ast.FuncDecl {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*ast.FuncDecl{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
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
