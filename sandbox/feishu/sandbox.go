package feishu

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"
)

// App is an application as registered in Feishu's developer console.
type App struct {
	ID           string   // "cli_…", the OAuth client id
	Secret       string   // the OAuth client secret
	Name         string   // shown on the consent page; empty means ID
	RedirectURIs []string // compared exactly; absolute, without fragment
	Scopes       []string // enabled in the console; asking for another one is error 20027
}

// User is a person with an account.
type User struct {
	Username    string // what is typed on the login page
	Password    string
	Name        string // "张三"
	EnglishName string // "Zhang San"; may be empty
	Email       string // may be empty
	Demo        bool   // offered on the login page, with the password in clear
}

// Document is a docx document. Only its owner can read it.
type Document struct {
	ID    string // 27 letters and digits, as in https://x.feishu.cn/docx/<ID>
	Owner string // a User's Username
	Title string
	Body  string // paragraphs, separated by newlines
}

// Config says what exists at this Feishu. Nothing can be added later.
type Config struct {
	Apps      []App
	Users     []User
	Documents []Document

	// RefusePKCEAtV3 makes /oauth/v3/token answer 20049 for every code that was
	// issued with a code challenge, as the live endpoint was seen to do in
	// September 2026 while Feishu's authorize page told PKCE users to stay on v2.
	RefusePKCEAtV3 bool

	// Now is the clock by which codes and tokens expire; nil means [time.Now].
	Now func() time.Time

	// Logger never sees a token, a code, a secret or a password; nil discards.
	Logger *slog.Logger
}

// Lifetimes of what is issued, as Feishu documents them.
const (
	CodeLifetime    = 5 * time.Minute
	AccessLifetime  = 7200 * time.Second
	RefreshLifetime = 604800 * time.Second
)

// Sandbox is one Feishu. Its methods are safe for concurrent use.
type Sandbox struct {
	apps           map[string]App
	users          map[string]User
	logins         []User // in the order configured, for the login page
	documents      map[string]Document
	listing        []Document // in the order configured, for the start page
	refusePKCEAtV3 bool
	now            func() time.Time
	log            *slog.Logger
	csrfKey        []byte
	pages          *pages
	state          *state
	knobs          *knobs
}

var documentID = regexp.MustCompile(`^[A-Za-z0-9]{27}$`)

// New checks c and returns a Sandbox that serves it. The error names every
// entry that is wrong, and never a secret or a password.
func New(c Config) (*Sandbox, error) {
	s := &Sandbox{
		apps:           make(map[string]App, len(c.Apps)),
		users:          make(map[string]User, len(c.Users)),
		logins:         slices.Clone(c.Users),
		documents:      make(map[string]Document, len(c.Documents)),
		listing:        slices.Clone(c.Documents),
		refusePKCEAtV3: c.RefusePKCEAtV3,
		now:            c.Now,
		log:            c.Logger,
		csrfKey:        make([]byte, 32),
		state:          newState(),
		knobs:          newKnobs(),
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	rand.Read(s.csrfKey) // never fails, see crypto/rand
	var problems []error
	for _, a := range c.Apps {
		problems = append(problems, s.addApp(a))
	}
	for _, u := range c.Users {
		problems = append(problems, s.addUser(u))
	}
	for _, d := range c.Documents {
		problems = append(problems, s.addDocument(d))
	}
	pages, err := loadPages()
	problems = append(problems, err)
	s.pages = pages
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Sandbox) addApp(a App) error {
	switch {
	case a.ID == "":
		return errors.New("app without id")
	case a.Secret == "":
		return fmt.Errorf("app %s has no secret", a.ID)
	case s.apps[a.ID].ID != "":
		return fmt.Errorf("app %s is listed twice", a.ID)
	}
	for _, raw := range a.RedirectURIs {
		u, err := url.Parse(raw)
		if err != nil || u.Scheme == "" || u.Host == "" || u.Fragment != "" {
			return fmt.Errorf("app %s: redirect URI %q is not an absolute URL without fragment", a.ID, raw)
		}
	}
	for _, scope := range a.Scopes {
		if _, ok := scopeWords[scope]; !ok {
			return fmt.Errorf("app %s: scope %q is unknown here", a.ID, scope)
		}
	}
	if a.Name == "" {
		a.Name = a.ID
	}
	s.apps[a.ID] = a
	return nil
}

func (s *Sandbox) addUser(u User) error {
	switch {
	case u.Username == "" || u.Name == "":
		return fmt.Errorf("user %q needs a username and a name", u.Username)
	case u.Password == "":
		return fmt.Errorf("user %s has no password", u.Username)
	case s.users[u.Username].Username != "":
		return fmt.Errorf("user %s is listed twice", u.Username)
	}
	s.users[u.Username] = u
	return nil
}

func (s *Sandbox) addDocument(d Document) error {
	switch {
	case !documentID.MatchString(d.ID):
		return fmt.Errorf("document id %q is not 27 letters and digits", d.ID)
	case s.users[d.Owner].Username == "":
		return fmt.Errorf("document %s: no user %q", d.ID, d.Owner)
	case s.documents[d.ID].ID != "":
		return fmt.Errorf("document %s is listed twice", d.ID)
	}
	s.documents[d.ID] = d
	return nil
}

// Handler serves Feishu's paths, the pages a person sees, and the control API
// under /sandbox/, which answers loopback callers only.
func (s *Sandbox) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+AuthorizePath, s.authorize)
	mux.HandleFunc("POST "+TokenPathV3, s.tokenV3)
	mux.HandleFunc("POST "+TokenPathV2, s.tokenV2)
	mux.HandleFunc("POST "+AppTokenPath, s.appToken)
	mux.HandleFunc("GET "+UserInfoPath, s.userInfo)
	mux.HandleFunc("GET "+RawContentPath, s.rawContent)

	mux.HandleFunc("GET /{$}", s.home)
	mux.HandleFunc("POST "+loginPath, s.login)
	mux.HandleFunc("POST "+consentPath, s.consent)
	mux.HandleFunc("POST "+logoutPath, s.logout)
	mux.HandleFunc("GET "+stylePath, s.style)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("/sandbox/", s.control())

	// Without this a wrong method would be Go's 405; Feishu answers a plain 404.
	mux.HandleFunc("/", http.NotFound)
	return mux
}

// Paths of the endpoints, below the origin of the sandbox. At Feishu the first
// two live at accounts.feishu.cn, the others at open.feishu.cn.
const (
	AuthorizePath  = "/open-apis/authen/v1/authorize"
	TokenPathV3    = "/oauth/v3/token"
	TokenPathV2    = "/open-apis/authen/v2/oauth/token"
	AppTokenPath   = "/open-apis/auth/v3/app_access_token/internal"
	UserInfoPath   = "/open-apis/authen/v1/user_info"
	RawContentPath = "/open-apis/docx/v1/documents/{document_id}/raw_content"

	loginPath   = "/accounts/login"
	consentPath = "/accounts/consent"
	logoutPath  = "/accounts/logout"
	stylePath   = "/accounts/style.css"
)
