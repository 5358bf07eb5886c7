package reqsign

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// canonicalRequest writes what is signed.
func canonicalRequest(s Scheme, r *http.Request, query url.Values, headers, signed string, body [sha256.Size]byte) string {
	return strings.Join([]string{r.Method, canonicalPath(s, r.URL), canonicalQuery(s, query), headers, signed, hex.EncodeToString(body[:])}, "\n")
}

// canonicalPath escapes the path. AWS does so with what is escaped already
// (for all services but S3), Volcengine with the plain path.
func canonicalPath(s Scheme, u *url.URL) string {
	path := u.Path
	if s == AWS {
		path = u.EscapedPath()
	}
	if path == "" {
		return "/"
	}
	parts := strings.Split(path, "/")
	for i, p := range parts {
		parts[i] = escape(p)
	}
	return strings.Join(parts, "/")
}

// escape is the percent-encoding of RFC 3986: all but unreserved characters.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// canonicalQuery sorts and escapes. Where a name stands several times, AWS sorts
// its values, as they are escaped, and Volcengine leaves them in their order.
func canonicalQuery(s Scheme, query url.Values) string {
	if s == Volcengine {
		return strings.ReplaceAll(query.Encode(), "+", "%20")
	}
	type pair struct{ name, value string }
	var pairs []pair
	for name, values := range query {
		for _, v := range values {
			pairs = append(pairs, pair{escape(name), escape(v)})
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int { return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.value, b.value)) })
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.name + "=" + p.value)
	}
	return b.String()
}

// headerLines writes the signed headers, in the order given.
func headerLines(s Scheme, r *http.Request, signed []string, host string) string {
	var b strings.Builder
	for _, name := range signed {
		name = strings.ToLower(name)
		values := r.Header.Values(name)
		switch {
		case name == "host":
			values = []string{host}
		case name == "content-length" && len(values) == 0:
			values = []string{strconv.FormatInt(r.ContentLength, 10)}
		}
		cleaned := make([]string, len(values))
		for i, v := range values {
			cleaned[i] = strings.TrimSpace(v)
			if s == AWS {
				cleaned[i] = oneSpace(cleaned[i])
			}
		}
		b.WriteString(name + ":" + strings.Join(cleaned, ",") + "\n")
	}
	return b.String()
}

// oneSpace makes one space of several. Tabs are left.
func oneSpace(s string) string {
	for strings.Contains(s, "  ") {
		s = strings.ReplaceAll(s, "  ", " ")
	}
	return s
}

// hostOf returns the host that r is for, as clients sign it: without the port,
// if that is the usual one.
func hostOf(r *http.Request) string {
	host := cmp.Or(r.Host, r.URL.Host)
	for _, port := range []string{":80", ":443"} {
		if short, ok := strings.CutSuffix(host, port); ok {
			return short
		}
	}
	return host
}
