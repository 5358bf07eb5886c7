package store_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/store"
)

// statements are those of the migrations that make, rename or drop a table or a
// column named sealed.
var statements = regexp.MustCompile(`(?m)^CREATE TABLE (\w+)|^ALTER TABLE (\w+) ADD COLUMN (sealed\w*) |^  (sealed\w*) +BYTEA|^DROP TABLE (\w+)|^ALTER TABLE (\w+) RENAME TO (\w+)`)

// TestEverySealedColumnIsKnown looks for columns named sealed in the schema:
// those that rotation does not know would be lost with their data key.
func TestEverySealedColumnIsKnown(t *testing.T) {
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string][]string{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		up, _, _ := strings.Cut(string(b), "-- +goose Down")
		table := ""
		for _, m := range statements.FindAllStringSubmatch(up, -1) {
			switch {
			case m[1] != "":
				table = m[1]
			case m[2] != "":
				tables[m[2]] = append(tables[m[2]], m[3])
			case m[4] != "":
				tables[table] = append(tables[table], m[4])
			case m[5] != "":
				delete(tables, m[5])
			default:
				tables[m[7]] = tables[m[6]]
				delete(tables, m[6])
			}
		}
	}
	var found []string
	for _, table := range slices.Sorted(maps.Keys(tables)) {
		for _, column := range tables[table] {
			found = append(found, table+"."+column)
		}
	}
	known := store.Keys{}.SealedColumns()
	slices.Sort(found)
	slices.Sort(known)
	if diff := cmp.Diff(found, known); diff != "" {
		t.Errorf("sealed columns of the schema (-) and of sealed.go (+):\n%s", diff)
	}
}
