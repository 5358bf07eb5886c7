package discovery

import (
	"net/http"
	"strings"
)

// maxChallenge bounds what is read of a WWW-Authenticate header in bytes.
const maxChallenge = 8 << 10

// challenge returns the parameters of the Bearer challenge in the
// WWW-Authenticate headers of an answer (RFC 9110, section 11.6.1; RFC 6750,
// section 3), by their names in lower case. There are none if there is no such
// challenge.
func challenge(h http.Header) map[string]string {
	for _, header := range h.Values("WWW-Authenticate") {
		if len(header) > maxChallenge {
			continue
		}
		if found := bearer(header); found != nil {
			return found
		}
	}
	return map[string]string{}
}

// bearer returns the parameters of the Bearer challenge in one header, and nil
// if there is none. One header may have several challenges: a word that no "="
// follows begins the next one.
func bearer(header string) map[string]string {
	var found map[string]string
	for rest := header; ; {
		rest = strings.TrimLeft(rest, " \t,")
		end := strings.IndexFunc(rest, notToken)
		if end == 0 || rest == "" {
			return found
		}
		if end < 0 {
			end = len(rest)
		}
		word := rest[:end]
		value, after, isParameter := parameter(strings.TrimLeft(rest[end:], " \t"))
		switch {
		case !isParameter && found != nil:
			return found // the next challenge
		case !isParameter && strings.EqualFold(word, "Bearer"):
			found = map[string]string{}
		case isParameter && found != nil:
			if _, twice := found[strings.ToLower(word)]; !twice {
				found[strings.ToLower(word)] = value
			}
		}
		rest = after
	}
}

// parameter reads "=value" off the beginning of s, where the value is a token or
// a quoted string, and returns what follows it. It reports false, and s, if s
// begins otherwise.
func parameter(s string) (value, rest string, ok bool) {
	v, ok := strings.CutPrefix(s, "=")
	if !ok {
		return "", s, false
	}
	v = strings.TrimLeft(v, " \t")
	if !strings.HasPrefix(v, `"`) {
		end := strings.IndexAny(v, ", \t")
		if end < 0 {
			end = len(v)
		}
		return v[:end], v[end:], true
	}
	var b strings.Builder
	for i := 1; i < len(v); i++ {
		switch {
		case v[i] == '"':
			return b.String(), v[i+1:], true
		case v[i] == '\\' && i+1 < len(v):
			i++
		}
		b.WriteByte(v[i])
	}
	return "", "", true // never closed: nobody knows what it was to say
}

// notToken reports whether no token has r (RFC 9110, section 5.6.2).
func notToken(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
}
