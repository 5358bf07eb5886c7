package demo

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// secrets is everything that must not be in a log, with what it is.
type secrets struct {
	values map[string]string // value → what it is
}

// minSecret is the length below which a value says nothing: it would be found
// by chance.
const minSecret = 8

// add notes a secret value. Empty ones and very short ones are left out.
func (s *secrets) add(what string, values ...string) {
	if s.values == nil {
		s.values = map[string]string{}
	}
	for _, v := range values {
		if len(v) >= minSecret {
			s.values[v] = what
		}
	}
}

// leak is a secret in a log. It says what and where, never the secret.
type leak struct {
	what string // "access_token of the sandbox"
	form string // "as it is", "in base64", …
	file string
	line int
}

// String implements [fmt.Stringer].
func (l leak) String() string { return fmt.Sprintf("%s:%d: %s, %s", l.file, l.line, l.what, l.form) }

// needle is one way in which a secret may have been written.
type needle struct {
	text       []byte
	what, form string
}

// fragment is how many bytes of a long secret are enough to call it a leak:
// logs that print "only the beginning" of a token are a common mistake.
const fragment = 16

// needles returns the ways to write every secret.
func (s *secrets) needles() []needle {
	var out []needle
	for value, what := range s.values {
		seen := map[string]bool{}
		put := func(form, text string) {
			if len(text) >= minSecret && !seen[text] {
				seen[text] = true
				out = append(out, needle{[]byte(text), what, form})
			}
		}
		put("as it is", value)
		put("URL-escaped", url.QueryEscape(value))
		put("URL-escaped", url.PathEscape(value))
		if quoted, err := json.Marshal(value); err == nil {
			put("in JSON", string(quoted[1:len(quoted)-1]))
		}
		put("in hexadecimal", hex.EncodeToString([]byte(value)))
		put("in hexadecimal", strings.ToUpper(hex.EncodeToString([]byte(value))))
		for shift := range 3 {
			put("in base64", inBase64(base64.RawStdEncoding, value, shift))
			put("in base64", inBase64(base64.RawURLEncoding, value, shift))
		}
		for _, part := range fragments(value) {
			put("in part", part)
		}
	}
	return out
}

// inBase64 returns the characters that value, in whatever stands before and
// behind it, always becomes when it begins shift bytes into a group of three:
// as in the password of a Basic Authorization header.
func inBase64(enc *base64.Encoding, value string, shift int) string {
	coded := enc.EncodeToString(append(make([]byte, shift), value...))
	// The first characters also depend on the bytes before, the last one on the bytes behind.
	first := []int{0, 2, 3}[shift]
	last := len(coded)
	if (shift+len(value))%3 != 0 {
		last--
	}
	return coded[min(first, last):last]
}

// fragments returns beginnings and ends of a long secret that are telling by
// themselves. Of a JWT that is its signature: the header is the same in all.
func fragments(value string) []string {
	if i := strings.LastIndexByte(value, '.'); i >= 0 {
		value = value[i+1:]
	}
	if len(value) < 2*fragment {
		return nil
	}
	return []string{value[:fragment], value[len(value)-fragment:]}
}

// shape is what a kind of secret looks like.
type shape struct {
	what    string
	pattern *regexp.Regexp
}

// shapes are for secrets that the demo has not seen itself, such as the agents'
// workload access tokens: whatever looks like one is one.
func shapes() []shape {
	return []shape{
		{"a JSON Web Token", regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.`)},
		// name.NewToken: a prefix and 256 bits. Ids have half as many.
		{"a token of Deputy", regexp.MustCompile(`\b[a-z]{1,8}_[0-9a-hjkmnp-tv-z]{52}\b`)},
		{"a bearer token", regexp.MustCompile(`(?i)\bbearer [A-Za-z0-9._~+/-]{16,}`)},
		{"a password in an address", regexp.MustCompile(`(?i)\b[a-z]+://[^\s/:@"]+:[^\s/@"]+@`)},
	}
}

const (
	maxLog      = 64 << 20 // bytes of one log that are searched; a longer one is an error
	maxLeaks    = 50
	maxLogFiles = 1000
)

// logFiles returns the logs below dir: files called *.log, *.log.1 and so on.
func logFiles(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Type().IsRegular() && logName.MatchString(d.Name()) {
			files = append(files, path)
		}
		if len(files) > maxLogFiles {
			return fmt.Errorf("more than %d logs below %s", maxLogFiles, dir)
		}
		return nil
	})
	return files, err
}

var logName = regexp.MustCompile(`\.log(\.[0-9]+)?$`)

// scan searches the logs for the secrets and returns what it finds. A log that
// cannot be searched is an error, never a clean one.
func (s *secrets) scan(files []string) ([]leak, error) {
	needles := s.needles()
	var leaks []leak
	for _, path := range files {
		text, err := readLog(path)
		if err != nil {
			return nil, err
		}
		leaks = append(leaks, search(path, text, needles)...)
	}
	return leaks[:min(len(leaks), maxLeaks)], nil
}

func readLog(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	b, err := io.ReadAll(io.LimitReader(f, maxLog+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxLog {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxLog)
	}
	return b, nil
}

// search returns the leaks in one text.
func search(name string, text []byte, needles []needle) []leak {
	var leaks []leak
	found := func(at int, what, form string) {
		l := leak{what, form, name, 1 + bytes.Count(text[:at], []byte("\n"))}
		if !slices.Contains(leaks, l) && len(leaks) < maxLeaks {
			leaks = append(leaks, l)
		}
	}
	for _, n := range needles {
		if at := bytes.Index(text, n.text); at >= 0 {
			found(at, n.what, n.form)
		}
	}
	for _, s := range shapes() {
		if at := s.pattern.FindIndex(text); at != nil {
			found(at[0], s.what, "by its shape")
		}
	}
	return leaks
}
