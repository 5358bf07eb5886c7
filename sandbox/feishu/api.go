package feishu

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"slices"
	"strings"
)

// bearer returns whose token came with the request, or the code of what is wrong
// with it. Without the "Bearer " prefix Feishu sees no token at all; a token of
// the user kinds ("eyJ…", "u-…") that it does not know is 99991668, any other
// 99991663.
func (s *Sandbox) bearer(r *http.Request) (access, int) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		return access{}, 99991661
	}
	a, known := s.state.lookupAccess(token)
	switch {
	case known && !a.dead && s.now().Before(a.expires):
		return a, 0
	case known && !a.dead:
		return access{}, 99991677
	case strings.HasPrefix(token, "eyJ"), strings.HasPrefix(token, "u-"):
		return access{}, 99991668
	}
	return access{}, 99991663
}

// answer is the envelope of every API success.
type answer struct {
	Code int    `json:"code"`
	Msg  string `json:"msg"`
	Data any    `json:"data"`
}

// api runs an API call: knobs, token, then do, which returns the data or the
// code of an error and, for 99991679, the scopes that would have helped.
func (s *Sandbox) api(w http.ResponseWriter, r *http.Request, op Operation, do func(access) (any, int, []string)) {
	refusal, ok := s.begin(r, op)
	if !ok {
		return
	}
	if refusal != nil {
		s.refuseAPI(w, r, op, *refusal)
		return
	}
	caller, code := s.bearer(r)
	var data any
	var wanted []string
	if code == 0 {
		data, code, wanted = do(caller)
	}
	if code != 0 {
		s.refuseAPI(w, r, op, Refusal{Code: code}, wanted...)
		return
	}
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "api request served", slog.String("operation", string(op)),
		slog.String("app", caller.app), slog.String("user", caller.user))
	if s.knobs.dropDue(op) {
		panic(http.ErrAbortHandler)
	}
	s.writeJSON(w, http.StatusOK, answer{0, "success", data})
}

// profile is what user_info tells; the last two need a scope of their own.
type profile struct {
	Name        string `json:"name"`
	EnglishName string `json:"en_name"`
	OpenID      string `json:"open_id"`
	UnionID     string `json:"union_id"`
	TenantKey   string `json:"tenant_key"`
	Email       string `json:"email,omitempty"`
	UserID      string `json:"user_id,omitempty"`
}

func (s *Sandbox) userInfo(w http.ResponseWriter, r *http.Request) {
	s.api(w, r, OpUserInfo, func(caller access) (any, int, []string) {
		u := s.users[caller.user]
		p := profile{
			Name: u.Name, EnglishName: u.EnglishName,
			OpenID: OpenID(caller.app, u.Username), UnionID: "on_" + digest("union", u.Username, 32),
			TenantKey: "sandbox",
		}
		if caller.scopes.has("contact:user.email:readonly") {
			p.Email = u.Email
		}
		if caller.scopes.has("contact:user.employee_id:readonly") {
			p.UserID = digest("user", u.Username, 8)
		}
		return p, 0, nil
	})
}

// OpenID returns the open_id of a user as the app sees it. As at Feishu, two
// apps see two different ones; restarts do not change it.
func OpenID(appID, username string) string { return "ou_" + digest("open "+appID, username, 32) }

func digest(space, value string, length int) string {
	sum := sha256.Sum256([]byte(space + "\x00" + value))
	return hex.EncodeToString(sum[:])[:length]
}

// readScopes are the scopes any one of which opens raw_content.
var readScopes = []string{"docx:document", "docx:document:readonly"}

func (s *Sandbox) rawContent(w http.ResponseWriter, r *http.Request) {
	s.api(w, r, OpRawContent, func(caller access) (any, int, []string) {
		if !slices.ContainsFunc(readScopes, caller.scopes.has) {
			return nil, 99991679, readScopes
		}
		doc, ok := s.documents[r.PathValue("document_id")]
		switch {
		case !ok:
			return nil, 1770002, nil
		case doc.Owner != caller.user:
			return nil, 1770032, nil
		}
		return struct {
			Content string `json:"content"`
		}{doc.Title + "\n" + doc.Body + "\n"}, 0, nil
	})
}
