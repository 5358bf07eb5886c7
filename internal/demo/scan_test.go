package demo

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/name"
)

const (
	aPassword = "p4ss/w+rd=&é\"long"
	aJWT      = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.c29tZXRoaW5nIG9wYXF1ZSBpbiBoZXJl.Zm9ydHktZWlnaHQgY2hhcmFjdGVycyBvZiBzaWduYXR1cmUu"
)

// TestScanFinds is the proof that the demo's last step can fail.
func TestScanFinds(t *testing.T) {
	tests := map[string]struct{ secret, line string }{
		"as it is":              {aPassword, "login with " + aPassword + " ok"},
		"in a query":            {aPassword, "GET /login?password=" + url.QueryEscape(aPassword)},
		"in a path":             {aPassword, "GET /" + url.PathEscape(aPassword)},
		"in JSON":               {aPassword, `{"password":"p4ss/w+rd=\u0026é\"long"}`},
		"in hexadecimal":        {aPassword, hex.EncodeToString([]byte(aPassword))},
		"in HEXADECIMAL":        {aPassword, strings.ToUpper(hex.EncodeToString([]byte(aPassword)))},
		"in base64":             {aPassword, base64.StdEncoding.EncodeToString([]byte(aPassword))},
		"in base64url":          {aPassword, base64.URLEncoding.EncodeToString([]byte("subject ÿþ>? " + aPassword + " and more"))},
		"Basic, shifted by 1":   {aPassword, "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("abc:"+aPassword))},
		"Basic, shifted by 2":   {aPassword, "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("abcd:"+aPassword+"."))},
		"Basic, not shifted":    {aPassword, "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("ab:"+aPassword+".."))},
		"the beginning only":    {"0123456789abcdefghijklmnopqrstuvwxyz", "token 0123456789abcdef…"},
		"the end only":          {"0123456789abcdefghijklmnopqrstuvwxyz", "token …klmnopqrstuvwxyz"},
		"a JWT's signature":     {aJWT, "signature Zm9ydHktZWlnaHQgY2hhcmFj"},
		"an unknown JWT":        {"not this one", "got " + aJWT},
		"an unknown token":      {"not this one", "got " + name.NewToken("at")},
		"an unknown bearer":     {"not this one", "Authorization: Bearer u-abcdefghijklmnopqrstuv"},
		"a password in address": {"not this one", "postgres://deputy:hunter2@db/deputy"},
	}
	for title, test := range tests {
		t.Run(title, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "deep", "agent.log.1")
			writeFile(t, path, "nothing here\n"+test.line+"\nnor here\n")
			var s secrets
			s.add("the secret", test.secret)
			files, err := logFiles(dir)
			if err != nil {
				t.Fatal(err)
			}
			leaks, err := s.scan(files)
			if err != nil {
				t.Fatal(err)
			}
			if len(leaks) == 0 {
				t.Fatalf("nothing found in %q", test.line)
			}
			for _, l := range leaks {
				if l.line != 2 || l.file != path {
					t.Errorf("found at %s:%d, want line 2 of %s", l.file, l.line, path)
				}
				if strings.Contains(l.String(), test.secret) {
					t.Errorf("the report repeats the secret: %s", l)
				}
			}
		})
	}
}

func TestScanFindsNothingInCleanLogs(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "deputy.log"), `{"time":"2026-01-01T00:00:00Z","request":"`+name.NewID("req")+`","path":"/userpool/people/login","status":200}
spiffe://deputy.local/default/feishu-doc-agent usr_`+strings.Repeat("a", 26)+` http://localhost:8080/healthz
Bearer realm="deputy", error="invalid_token"
sha256 `+strings.Repeat("0f", 32)+"\n")
	writeFile(t, filepath.Join(dir, "not-a-log.txt"), aPassword)
	var s secrets
	s.add("password", aPassword)
	s.add("too short to mean anything", "a", "")
	files, err := logFiles(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("logs: %v, %v; want one", files, err)
	}
	leaks, err := s.scan(files)
	if err != nil || len(leaks) != 0 {
		t.Errorf("found %v, %v in clean logs", leaks, err)
	}
}

func TestScanDoesNotPassOverWhatItCannotRead(t *testing.T) {
	var s secrets
	if _, err := s.scan([]string{filepath.Join(t.TempDir(), "missing.log")}); err == nil {
		t.Error("a log that is not there was taken for a clean one")
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
