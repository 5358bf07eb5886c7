package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxEnvFile bounds a .env file, in bytes.
const maxEnvFile = 64 << 10

// entry is one assignment of a .env file.
type entry struct {
	key, value string
	line       int // counted from 1
}

// parseEnv reads the .env format: KEY=VALUE lines, blank lines and # comments.
//
// A value is bare, 'single' or "double" quoted. A bare value ends at " #" and
// is trimmed; in single quotes everything is literal; in double quotes \n, \t,
// \" and \\ are escapes. A leading "export " is allowed. Nothing is
// interpolated: a $ is a $. A key that appears twice is refused rather than
// guessed about. Errors name the line and the key and never show a value, which
// may be a secret.
func parseEnv(text string) ([]entry, error) {
	if len(text) > maxEnvFile {
		return nil, fmt.Errorf("larger than %d KiB: this is not a .env file", maxEnvFile>>10)
	}
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return nil, fmt.Errorf("not UTF-8 text: save the file as UTF-8")
	}
	var entries []entry
	seen := map[string]int{}
	text = strings.TrimPrefix(text, "\ufeff")
	for i, line := range strings.Split(text, "\n") {
		n := i + 1
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if rest, ok := strings.CutPrefix(line, "export "); ok {
			line = strings.TrimSpace(rest)
		}
		key, raw, ok := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		if !ok || !validKey(key) {
			return nil, fmt.Errorf("line %d: want NAME=value", n)
		}
		if first, dup := seen[key]; dup {
			return nil, fmt.Errorf("line %d: %s is set a second time (first in line %d)", n, key, first)
		}
		seen[key] = n
		value, err := envValue(strings.TrimSpace(raw))
		if err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", n, key, err)
		}
		entries = append(entries, entry{key, value, n})
	}
	return entries, nil
}

// validKey reports whether s can name an environment variable.
func validKey(s string) bool {
	for i, r := range s {
		letter := r == '_' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// envValue decodes what stands behind the equals sign, already trimmed.
func envValue(raw string) (string, error) {
	if raw == "" {
		return "", nil
	}
	var value, rest string
	switch quote := raw[0]; quote {
	case '\'':
		end := strings.IndexByte(raw[1:], quote)
		if end < 0 {
			return "", fmt.Errorf("the quote is not closed on this line")
		}
		value, rest = raw[1:1+end], raw[end+2:]
	case '"':
		var err error
		if value, rest, err = doubleQuoted(raw[1:]); err != nil {
			return "", err
		}
	default:
		for i := 1; i < len(raw); i++ {
			if raw[i] == '#' && (raw[i-1] == ' ' || raw[i-1] == '\t') {
				return strings.TrimSpace(raw[:i]), nil
			}
		}
		if raw[0] == '#' {
			return "", nil
		}
		return raw, nil
	}
	if rest = strings.TrimSpace(rest); rest != "" && rest[0] != '#' {
		return "", fmt.Errorf("there is text behind the closing quote")
	}
	return value, nil
}

// doubleQuoted decodes s up to its closing double quote and returns what
// follows it.
func doubleQuoted(s string) (value, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], nil
		case '\\':
			i++
			if i == len(s) {
				continue
			}
			escaped, ok := map[byte]byte{'n': '\n', 't': '\t', '"': '"', '\\': '\\'}[s[i]]
			if !ok {
				return "", "", fmt.Errorf(`unknown escape \%c in double quotes (use single quotes for literal text)`, s[i])
			}
			b.WriteByte(escaped)
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", fmt.Errorf("the quote is not closed on this line")
}
