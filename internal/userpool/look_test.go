package userpool

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/fault"
)

// The smallest images of the three kinds of WebP.
const (
	webpLossy    = "UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA"
	webpLossless = "UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA=="
	webpExtended = "UklGRkoAAABXRUJQVlA4WAoAAAAQAAAAAAAAAAAAQUxQSAwAAAARBxAR/Q9ERP8DAABWUDggGAAAABQBAJ0BKgEAAQAAAP4AAA3AAP7mtQAAAA=="
)

func encoded(t testing.TB, kind string, width, height int) []byte {
	t.Helper()
	var b bytes.Buffer
	picture, err := image.NewNRGBA(image.Rect(0, 0, width, height)), error(nil)
	switch kind {
	case "png":
		err = png.Encode(&b, picture)
	case "jpeg":
		err = jpeg.Encode(&b, picture, nil)
	case "gif":
		err = gif.Encode(&b, picture, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func decoded(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLogoType(t *testing.T) {
	for what, c := range map[string]struct {
		logo []byte
		want string
	}{
		"png":            {encoded(t, "png", 28, 28), "image/png"},
		"jpeg":           {encoded(t, "jpeg", 28, 28), "image/jpeg"},
		"webp lossy":     {decoded(t, webpLossy), "image/webp"},
		"webp lossless":  {decoded(t, webpLossless), "image/webp"},
		"webp extended":  {decoded(t, webpExtended), "image/webp"},
		"gif":            {encoded(t, "gif", 28, 28), ""},
		"svg":            {[]byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`), ""},
		"page":           {[]byte("<!doctype html><script>alert(1)</script>"), ""},
		"nothing":        {nil, ""},
		"header alone":   {[]byte("\x89PNG\r\n\x1a\n"), ""},
		"riff alone":     {append([]byte("RIFF\x00\x00\x00\x00WEBP"), make([]byte, 30)...), ""},
		"wide":           {encoded(t, "png", maxLogoSides+1, 1), ""},
		"too many bytes": {append(encoded(t, "png", 28, 28), make([]byte, MaxLogo)...), ""},
	} {
		if got, err := LogoType(c.logo); got != c.want || (err == nil) != (c.want != "") || (err != nil && !fault.Is(err, fault.Invalid)) {
			t.Errorf("%s: %q, %v; want %q", what, got, err, c.want)
		}
	}
}

func FuzzLogoType(f *testing.F) {
	f.Add(encoded(f, "png", 2, 2))
	f.Add(encoded(f, "jpeg", 2, 2))
	for _, s := range []string{webpLossy, webpLossless, webpExtended} {
		f.Add(decoded(f, s))
	}
	f.Fuzz(func(t *testing.T, logo []byte) {
		if kind, err := LogoType(logo); err == nil && (bytes.HasPrefix(logo, []byte("<")) || !strings.HasPrefix(kind, "image/")) {
			t.Errorf("%q was taken for %s", logo, kind)
		}
	})
}

func TestColorsCanBeRead(t *testing.T) {
	for color, code := range map[string]string{
		"": "", "#2f5bea": "", "#000000": "", "#b3261e": "", "#767676": "", "#ffffff": "color_pale", "#ffd400": "color_pale", "#777777": "color_pale",
		"red": "color_invalid", "#2F5BEA": "color_invalid", "#fff": "color_invalid", "#12345g": "color_invalid", "#123456;}": "color_invalid",
	} {
		if err := (Look{Color: color}).check(); (code == "") != (err == nil) || (err != nil && !fault.HasCode(err, code)) {
			t.Errorf("%s: %v, want %q", color, err, code)
		}
	}
	for _, color := range []string{"#000000", "#2f5bea", "#b3261e", "#767676", "#00007f", "#003300"} {
		css := Look{Color: color}.Stylesheet()
		_, dark, _ := strings.Cut(css, "dark")
		_, main, _ := strings.Cut(dark, "--main: ")
		c, ok := parseColor(main[:7])
		if !ok || contrast(c, darkCard) < minContrast || contrast(c, darkInk) < minContrast || !strings.Contains(css, "--main: "+color) {
			t.Errorf("%s:\n%s", color, css)
		}
	}
	if got := contrast(white, black); got < 20.9 || got > 21.1 {
		t.Errorf("white on black: %f", got)
	}
	if css := (Look{}).Stylesheet(); css != "" {
		t.Errorf("Deputy's own colour has rules: %s", css)
	}
}

func TestLooksHaveVersions(t *testing.T) {
	seen := map[string]Look{}
	for _, l := range []Look{{Color: "#000000"}, {Color: "#000001"}, {Logo: []byte("x"), LogoType: "image/png"}, {Logo: []byte("x"), LogoType: "image/jpeg"}, {}} {
		if former, twice := seen[l.Version()]; twice {
			t.Errorf("%v and %v have the same version", former, l)
		}
		seen[l.Version()] = l
	}
	if seen[""].Color != "" {
		t.Error("only Deputy's look has no version")
	}
}
