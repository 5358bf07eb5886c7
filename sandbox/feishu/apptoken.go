package feishu

import (
	"log/slog"
	"net/http"
	"time"
)

// appToken gives an internal app its own tokens. Unlike the token endpoint it
// says which of the app's two values is wrong. Nothing here takes the tokens.
func (s *Sandbox) appToken(w http.ResponseWriter, r *http.Request) {
	params, err := readParams(r)
	refusal, ok := s.begin(r, OpAppToken)
	if !ok {
		return
	}
	app, known := s.apps[params["app_id"]]
	switch {
	case refusal != nil:
	case err != nil, !known, params["app_secret"] == "":
		refusal = &Refusal{Code: 10003}
	case !equalSecrets(app.Secret, params["app_secret"]):
		refusal = &Refusal{Code: 10014}
	}
	if refusal != nil {
		s.refuseAppToken(w, r, *refusal)
		return
	}
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "app token issued", slog.String("app", app.ID))
	if s.knobs.dropDue(OpAppToken) {
		panic(http.ErrAbortHandler)
	}
	token := s.state.issueAppToken() // one for both, as at Feishu
	s.writeJSON(w, http.StatusOK, struct {
		AppToken    string `json:"app_access_token"`
		Code        int    `json:"code"`
		Expire      int64  `json:"expire"`
		Msg         string `json:"msg"`
		TenantToken string `json:"tenant_access_token"`
	}{token, 0, int64(AccessLifetime / time.Second), "ok", token})
}

// refuseAppToken answers without the "error" object that other errors have.
func (s *Sandbox) refuseAppToken(w http.ResponseWriter, r *http.Request, refusal Refusal) {
	row, ok := apiCodes[refusal.Code]
	if !ok {
		row = apiCode{http.StatusBadRequest, "refused by the sandbox"}
	}
	if refusal.Status != 0 {
		row.status = refusal.Status
	}
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "app token refused", slog.Int("code", refusal.Code))
	s.writeJSON(w, row.status, struct {
		Code int    `json:"code"`
		Msg  string `json:"msg"`
	}{refusal.Code, row.msg})
}
