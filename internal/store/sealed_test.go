package store_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/store"
)

// TestEverySealedColumnIsKnown looks for columns named sealed in the schema:
// those that rotation does not know would be lost with their data key.
func TestEverySealedColumnIsKnown(t *testing.T) {
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^CREATE TABLE (\w+)|^ALTER TABLE (\w+) ADD COLUMN (sealed\w*) |^  (sealed\w*) `)
	var found []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		table := ""
		for _, m := range line.FindAllStringSubmatch(string(b), -1) {
			switch {
			case m[1] != "":
				table = m[1]
			case m[2] != "":
				found = append(found, m[2]+"."+m[3])
			default:
				found = append(found, table+"."+m[4])
			}
		}
	}
	known := store.Keys{}.SealedColumns()
	slices.Sort(found)
	slices.Sort(known)
	if diff := cmp.Diff(found, known); diff != "" {
		t.Errorf("sealed columns of the schema (-) and of sealed.go (+):\n%s", diff)
	}
}
