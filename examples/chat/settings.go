package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
)

// settings is the validated configuration.
type settings struct {
	issuer       string
	clientID     string
	clientSecret token
	redirectURI  string
	scopes       []string

	base         *url.URL // this application's origin, taken from redirectURI
	listen       string   // host:port
	listenSource string   // for an error message: which setting said so

	agentName     string
	agentEndpoint string // without /invoke

	// linkOrigins are the origins to which an authorization link may point.
	linkOrigins []string
	examples    []example
}

// example is a document that the page offers to ask about.
type example struct{ URL, Title string }

// The settings, under the names that the tutorial gave them.
const (
	setIssuer    = "OAUTH2_ISSUER_URI"
	setClientID  = "OAUTH2_CLIENT_ID"
	setSecret    = "OAUTH2_CLIENT_SECRET"
	setRedirect  = "OAUTH2_REDIRECT_URI"
	setScopes    = "OAUTH2_SCOPES"
	setAgentName = "AGENT_NAME"
	setEndpoint  = "AGENT_ENDPOINT"
	setDeputy    = "DEPUTY_URL"
	setListen    = "CHAT_LISTEN"
	setExamples  = "CHAT_EXAMPLES"
)

const (
	defaultScopes   = "openid profile email"
	defaultExamples = "LddRdcWDro6GRdxOdzEck1DdnFd"
	documentSite    = "https://bytedance.larkoffice.com/docx/"
)

// lookupEnv is os.LookupEnv or a test's stand-in.
type lookupEnv func(key string) (string, bool)

// raw is one setting as it was found.
type raw struct{ value, source string }

// source collects settings from the environment and a .env file. The environment
// wins: that is what every tool does, and users who forget it lose an hour, so
// a difference is said aloud.
type source struct {
	path   string // of the .env file; "" without one
	file   map[string]entry
	lookup lookupEnv
	log    *slog.Logger
}

// loadSettings reads and checks all settings. An empty path means .env, which
// may then be missing. The error lists every problem, each with the setting and
// where its value came from, and no secret.
func loadSettings(path string, lookup lookupEnv, log *slog.Logger) (settings, error) {
	src, err := openSource(path, lookup, log)
	if err != nil {
		return settings{}, err
	}
	var problems []error
	fail := func(err error) { problems = append(problems, err) }
	need := func(name string) raw {
		r, ok := src.get(name)
		switch {
		case !ok:
			fail(fmt.Errorf("%s is not set: %s", name, src.where()))
		case r.value == "":
			fail(fmt.Errorf("%s is empty (from %s)", name, r.source))
		}
		return r
	}
	or := func(name, value string) raw {
		if r, ok := src.get(name); ok && r.value != "" {
			return r
		}
		return raw{value, "its default"}
	}

	issuer, redirect, endpoint := need(setIssuer), need(setRedirect), need(setEndpoint)
	s := settings{
		issuer:        issuer.value,
		clientID:      need(setClientID).value,
		clientSecret:  newToken(need(setSecret).value),
		redirectURI:   redirect.value,
		agentName:     need(setAgentName).value,
		agentEndpoint: strings.TrimRight(endpoint.value, "/"),
	}
	if issuer.value != "" {
		s.checkIssuer(issuer, or(setDeputy, ""), fail)
	}
	if redirect.value != "" {
		listen, ok := src.get(setListen)
		s.checkRedirect(redirect, listen, ok, fail)
	}
	if endpoint.value != "" {
		checkEndpoint(endpoint, log, fail)
	}
	s.checkScopes(or(setScopes, defaultScopes), fail)
	s.readExamples(or(setExamples, defaultExamples), fail)
	return s, errors.Join(problems...)
}

func openSource(path string, lookup lookupEnv, log *slog.Logger) (source, error) {
	src := source{path: path, file: map[string]entry{}, lookup: lookup, log: log}
	if path == "" {
		src.path = ".env"
	}
	text, err := readBounded(src.path)
	if path == "" && errors.Is(err, fs.ErrNotExist) {
		src.path = ""
		return src, nil
	}
	if err != nil {
		return src, fmt.Errorf("settings file (-env): %w", err)
	}
	entries, err := parseEnv(text)
	if err != nil {
		return src, fmt.Errorf("settings file %s: %w", src.path, err)
	}
	known := []string{setIssuer, setClientID, setSecret, setRedirect, setScopes, setAgentName, setEndpoint, setDeputy, setListen, setExamples}
	for _, e := range entries {
		// A .env is often shared with other tools, so foreign names are theirs.
		// A name that looks like one of ours and is not is a misspelling.
		if !slices.Contains(known, e.key) && hasAnyPrefix(e.key, "OAUTH2_", "AGENT_", "CHAT_") {
			return src, fmt.Errorf("settings file %s, line %d: unknown setting %s (known: %s)", src.path, e.line, e.key, strings.Join(known, ", "))
		}
		src.file[e.key] = e
	}
	return src, nil
}

func readBounded(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxEnvFile+1))
	return string(b), err
}

func hasAnyPrefix(s string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

// get returns a setting and reports whether it is set at all.
func (s source) get(name string) (raw, bool) {
	e, inFile := s.file[name]
	fileSource := fmt.Sprintf("%s, line %d", s.path, e.line)
	value, inEnv := s.lookup(name)
	if !inEnv {
		return raw{e.value, fileSource}, inFile
	}
	if inFile && value != e.value {
		s.log.Warn("a setting has two different values; the environment's is used",
			"setting", name, "used", "the environment variable "+name, "ignored", fileSource)
	}
	return raw{strings.TrimSpace(value), "the environment variable " + name}, true
}

// where says where a missing setting should be put.
func (s source) where() string {
	if s.path == "" {
		return "put it into a file .env (see .env.example) or into the environment"
	}
	return "put it into " + s.path + " or into the environment"
}

// checkIssuer also fixes to which origins authorization links may point: the
// issuer's, and DEPUTY_URL's for installations that serve user pools under
// another name.
func (s *settings) checkIssuer(issuer, deputy raw, fail func(error)) {
	for _, u := range []struct {
		name string
		raw
	}{{setIssuer, issuer}, {setDeputy, deputy}} {
		if u.value == "" {
			continue
		}
		parsed, err := plainURL(u.value)
		switch {
		case err != nil:
			fail(fmt.Errorf("%s (from %s): %w", u.name, u.source, err))
		case strings.Contains(parsed.Path, "/.well-known/"):
			fail(fmt.Errorf("%s (from %s) is a discovery URL: leave out /.well-known/… to get the issuer", u.name, u.source))
		case parsed.Scheme == "http" && !loopback(parsed.Hostname()):
			fail(fmt.Errorf("%s (from %s): http is only for loopback addresses, use https", u.name, u.source))
		default:
			s.linkOrigins = append(s.linkOrigins, origin(parsed))
		}
	}
}

func (s *settings) checkRedirect(redirect, listen raw, listenSet bool, fail func(error)) {
	u, err := plainURL(redirect.value)
	switch {
	case err != nil:
		fail(fmt.Errorf("%s (from %s): %w", setRedirect, redirect.source, err))
		return
	case u.Path != "/callback":
		fail(fmt.Errorf("%s (from %s) must end in /callback: that is where this application expects the answer", setRedirect, redirect.source))
	case u.Scheme == "http" && !loopback(u.Hostname()):
		fail(fmt.Errorf("%s (from %s): http is only for loopback addresses, use https", setRedirect, redirect.source))
	}
	s.base = &url.URL{Scheme: u.Scheme, Host: u.Host}
	s.listen, s.listenSource = u.Host, setRedirect
	switch {
	case listenSet && listen.value != "":
		s.listen, s.listenSource = listen.value, setListen
		if _, _, err := net.SplitHostPort(listen.value); err != nil {
			fail(fmt.Errorf("%s (from %s) must be host:port", setListen, listen.source))
		}
	case u.Scheme == "https":
		fail(fmt.Errorf("%s (from %s) is https, which a proxy in front must serve: set %s to the host:port that the proxy forwards to", setRedirect, redirect.source, setListen))
	case u.Port() == "":
		s.listen = net.JoinHostPort(u.Hostname(), "80")
	}
}

func checkEndpoint(endpoint raw, log *slog.Logger, fail func(error)) {
	u, err := plainURL(endpoint.value)
	switch {
	case err != nil:
		fail(fmt.Errorf("%s (from %s): %w", setEndpoint, endpoint.source, err))
	case strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/invoke"):
		fail(fmt.Errorf("%s (from %s) must not end in /invoke: it is added", setEndpoint, endpoint.source))
	case u.Scheme == "http" && !loopback(u.Hostname()):
		log.Warn("users' access tokens travel unencrypted: use https, or a network that encrypts", "setting", setEndpoint, "source", endpoint.source)
	}
}

func (s *settings) checkScopes(r raw, fail func(error)) {
	s.scopes = strings.FieldsFunc(r.value, func(c rune) bool { return c == ' ' || c == ',' })
	if !slices.Contains(s.scopes, "openid") {
		fail(fmt.Errorf("%s (from %s) must contain openid", setScopes, r.source))
	}
}

// readExamples reads a comma-separated list of documents: an id or a URL, and
// behind a space a title to show.
func (s *settings) readExamples(r raw, fail func(error)) {
	for _, item := range strings.Split(r.value, ",") {
		document, title, _ := strings.Cut(strings.TrimSpace(item), " ")
		if document == "" {
			continue
		}
		if !strings.Contains(document, "://") {
			document = documentSite + url.PathEscape(document)
		}
		if _, err := plainURL(document); err != nil {
			fail(fmt.Errorf("%s (from %s): %w", setExamples, r.source, err))
			return
		}
		s.examples = append(s.examples, example{document, strings.TrimSpace(title)})
	}
}

// plainURL parses an absolute http(s) URL that carries nothing unexpected. The
// error does not repeat the value.
func plainURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("must be a URL such as https://host/path")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("must be a URL without user name, query and fragment")
	}
	return u, nil
}

// origin returns scheme://host[:port] in the form that makes equal origins
// equal strings (RFC 6454 section 4).
func origin(u *url.URL) string {
	scheme, host, port := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// loopback reports whether host is this machine, by its literal address or by
// the one name that resolvers keep for it (RFC 6761 section 6.3).
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
