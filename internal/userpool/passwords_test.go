package userpool_test

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

func newPasswords(t *testing.T, file string) *userpool.Passwords {
	t.Helper()
	b, err := userpool.NewBreached(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return &userpool.Passwords{Hasher: userpool.NewHasher(1), Breached: b}
}

func TestPasswordRules(t *testing.T) {
	p := newPasswords(t, "")
	strict := userpool.PasswordPolicy{MinLength: 10, RefuseBreached: true}
	zhang := userpool.User{UserName: "zhang.san-2026", Email: "zhang@example.com"}
	for _, c := range []struct {
		what, password string
		policy         userpool.PasswordPolicy
		code           string // empty: accepted
	}{
		{"good", "correct horse 电池", strict, ""},
		{"shorter than the policy", "dF3#xu9!a", strict, "password_length"},
		{"shorter than any policy", "dF3#xu9", userpool.PasswordPolicy{}, "password_length"},
		{"characters count, not bytes", "密码密码密码密码", userpool.PasswordPolicy{}, ""},
		{"at the bound", strings.Repeat("x", userpool.MaxPassword), strict, ""},
		{"over the bound", strings.Repeat("x", userpool.MaxPassword+1), strict, "password_length"},
		{"not text", "correct horse \xff\xfe", strict, "password_length"},
		{"blank", "            \t", strict, "password_blank"},
		{"wide blank", strings.Repeat("\u3000", 12), strict, "password_blank"},
		{"the user's name", "Zhang.San-2026", strict, "password_is_name"},
		{"the name backwards", "6202-nas.gnahz", strict, "password_is_name"},
		{"the e-mail address", "ZHANG@example.com", strict, "password_is_name"},
		{"known", "woaini1314", strict, "password_breached"},
		{"known, in other case", "PassWord123456", strict, "password_breached"},
		{"known, where that is allowed", "woaini1314", userpool.PasswordPolicy{MinLength: 8}, ""},
	} {
		u, err := p.Set(t.Context(), c.policy, zhang, secret.FromString(c.password), false, time.UnixMilli(7))
		if c.code != "" {
			if !fault.HasCode(err, c.code) || !fault.Is(err, fault.Invalid) {
				t.Errorf("%s: got %v, want %s", c.what, err, c.code)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		if ok, _, err := p.Hasher.Verify(t.Context(), u.PasswordHash, secret.FromString(c.password)); !ok || err != nil || !u.PasswordChangedAt.Equal(time.UnixMilli(7)) {
			t.Errorf("%s: the user has another password: %v, %v, %v", c.what, ok, err, u.PasswordChangedAt)
		}
	}
}

func TestPasswordHistory(t *testing.T) {
	p, u := newPasswords(t, ""), userpool.User{UserName: "zhang"}
	policy := userpool.PasswordPolicy{History: 3}
	set := func(password string, temporary bool) error {
		t.Helper()
		next, err := p.Set(t.Context(), policy, u, secret.FromString(password), temporary, time.Now())
		if err == nil {
			u = next
		}
		return err
	}
	for i := range 5 {
		if err := set(fmt.Sprintf("the %d. password", i), false); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(u.FormerPasswords); n != 2 {
		t.Errorf("%d former passwords are kept, want 2 beside the present one", n)
	}
	for i, refused := range []bool{false, false, true, true, true} {
		before := u
		if err := set(fmt.Sprintf("the %d. password", i), false); fault.HasCode(err, "password_used") != refused {
			t.Errorf("password %d: %v", i, err)
		}
		u = before
	}
	policy.History = 0
	if err := set("the 4. password", false); err != nil || len(u.FormerPasswords) != 0 {
		t.Errorf("without history: %v, %d kept", err, len(u.FormerPasswords))
	}
	if err := set("for the first login", true); err != nil || !u.MustChangePassword {
		t.Fatal("temporary:", err)
	}
	if err := set("for the first login", false); !fault.HasCode(err, "password_used") {
		t.Errorf("a temporary password goes on: %v", err)
	}
	if err := set("of my own choice", false); err != nil || u.MustChangePassword {
		t.Errorf("changed: %v, still temporary %v", err, u.MustChangePassword)
	}
}

// hashes returns a file of Have I Been Pwned's format with the passwords.
func hashes(t testing.TB, end string, passwords ...string) string {
	t.Helper()
	var lines []string
	for i, p := range passwords {
		lines = append(lines, fmt.Sprintf("%X:%d", sha1.Sum([]byte(p)), i*i*i+1))
	}
	slices.Sort(lines)
	path := filepath.Join(t.TempDir(), "pwned.txt")
	var content strings.Builder
	for _, line := range lines {
		content.WriteString(line + end)
	}
	if err := os.WriteFile(path, []byte(content.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBreachedFile(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 100, 1001} {
		for _, end := range []string{"\n", "\r\n"} {
			var in []string
			for i := range n {
				in = append(in, fmt.Sprintf("breached-%d", i))
			}
			b := newPasswords(t, hashes(t, end, in...)).Breached
			for i := range n + 50 {
				password := fmt.Sprintf("breached-%d", i)
				if found, err := b.Has(secret.FromString(password)); err != nil || found != (i < n) {
					t.Fatalf("of %d: %q found %v, %v", n, password, found, err)
				}
			}
		}
	}
}

func TestAWrongBreachedFileIsRefusedAtStart(t *testing.T) {
	dir := t.TempDir()
	for what, content := range map[string]string{
		"words": "password\n123456\nqwerty\n", "other hashes": strings.Repeat("8846F7EAEE8FB117AD06BDD830B7586C:1\n", 9), "one long line": strings.Repeat("A", 1<<16),
	} {
		path := filepath.Join(dir, "list")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := userpool.NewBreached(path); !fault.HasCode(err, "breached_file_invalid") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, path := range []string{dir, filepath.Join(dir, "none")} {
		if _, err := userpool.NewBreached(path); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// FuzzBreachedFile searches files of anything: the search ends, and does not panic.
func FuzzBreachedFile(f *testing.F) {
	f.Add([]byte("0018A45C4D1DEF81644B54AB7F969B88D65:1\n"), "password")
	f.Add(bytes.Repeat([]byte("5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:3\r\n"), 3), "password")
	f.Add([]byte("\n\n\n"), "")
	f.Fuzz(func(t *testing.T, content []byte, password string) {
		path := filepath.Join(t.TempDir(), "list")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := userpool.NewBreached(path)
		if err != nil {
			return
		}
		defer func() { _ = b.Close() }()
		short, err := userpool.NewBreached("")
		if err != nil {
			t.Fatal(err)
		}
		known, _ := short.Has(secret.FromString(password))
		found, err := b.Has(secret.FromString(password))
		there := strings.Contains(strings.ToUpper(string(content)), fmt.Sprintf("%X", sha1.Sum([]byte(password))))
		if err == nil && found && !there && !known {
			t.Errorf("%q is in no list", password)
		}
	})
}
