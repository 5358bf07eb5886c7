// Package dotenv reads .env files.
//
// They are lines of NAME=VALUE, with "export" before, quotes around and comments
// between, as the libraries of agents take them. Nothing is interpolated.
package dotenv

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
)

// MaxSize bounds a file, in bytes.
const MaxSize = 1 << 20

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Read returns the variables of a file. A file that is too large, or none, is a
// fault of kind Invalid with code "dotenv_unreadable"; one that is not there is
// fs.ErrNotExist.
func Read(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	unreadable := fault.New(fault.Invalid, "dotenv_unreadable", "it is larger than %d bytes, or no file", MaxSize).WithSource(path)
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, unreadable
	}
	b, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil || len(b) > MaxSize {
		return nil, unreadable
	}
	return Parse(b), nil
}

// Parse returns the variables in a file's text; the last one counts of those that
// are set twice. Lines that are none are left out.
func Parse(text []byte) map[string]string {
	found := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, MaxSize+1)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		line = strings.TrimSpace(strings.TrimPrefix(line, "export "))
		variable, value, ok := strings.Cut(line, "=")
		if variable = strings.TrimSpace(variable); !ok || !variableName.MatchString(variable) {
			continue
		}
		found[variable] = unquote(strings.TrimSpace(value))
	}
	return found
}

// unquote takes quotes, or a comment behind a value that has none, away.
func unquote(value string) string {
	if len(value) >= 2 && (value[0] == '"' || value[0] == '\'') {
		if end := strings.IndexByte(value[1:], value[0]); end >= 0 {
			return value[1 : end+1]
		}
	}
	value, _, _ = strings.Cut(value, " #")
	return strings.TrimSpace(value)
}
