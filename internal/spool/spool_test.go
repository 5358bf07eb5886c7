package spool_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/spool"
)

func TestRecords(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	s, err := spool.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range [][2]string{{"b", "two"}, {"a_1", "one"}, {"b", "three"}} {
		if err := s.Put(step[0], []byte(step[1])); err != nil {
			t.Fatal(err)
		}
	}
	// What a crash left half written is no record.
	if err := os.WriteFile(filepath.Join(dir, ".new-123"), []byte("ha"), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := spool.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if ids, err := again.IDs(); err != nil || !slices.Equal(ids, []string{"a_1", "b"}) {
		t.Errorf("ids %v, %v", ids, err)
	}
	if content, ok, err := again.Get("b"); err != nil || !ok || string(content) != "three" {
		t.Errorf("got %q, %v, %v", content, ok, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "b.record")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file mode %v, %v", info.Mode(), err)
	}
	for range 2 {
		if err := again.Remove("b"); err != nil {
			t.Error(err)
		}
	}
	if _, ok, err := again.Get("b"); ok || err != nil {
		t.Errorf("after its removal: %v, %v", ok, err)
	}
}

func TestIDsAreNoPaths(t *testing.T) {
	s, err := spool.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"", ".", "../x", "a/b", "a.b", "é", strings.Repeat("a", 101)} {
		if err := s.Put(id, nil); err == nil {
			t.Errorf("put under %q", id)
		}
		if _, _, err := s.Get(id); err == nil {
			t.Errorf("got %q", id)
		}
		if err := s.Remove(id); err == nil {
			t.Errorf("removed %q", id)
		}
	}
}
