package login

import (
	"net/http"

	"github.com/deputy-id/deputy/internal/poolpage"
)

// look serves a pool's stylesheet and logo. Their address changes with the look,
// so they are cached for good; nothing in them can run.
func (h *Handler) look(w http.ResponseWriter, r *http.Request) {
	pool, err := h.Resolve(r)
	look := pool.Settings.Look
	var content []byte
	header := w.Header()
	switch r.PathValue("file") {
	case poolpage.StyleFile:
		content = []byte(look.Stylesheet())
		header.Set("Content-Type", "text/css; charset=utf-8")
	case poolpage.LogoFile:
		content = look.Logo
		header.Set("Content-Type", look.LogoType)
	}
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	if err != nil || len(content) == 0 || r.PathValue("version") != look.Version() {
		header.Del("Content-Type")
		http.NotFound(w, r)
		return
	}
	header.Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(content) // a browser that went away is not our error
}
