package userpool

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image/jpeg"
	"image/png"
	"math"
	"strconv"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// Look is how a pool's pages differ from Deputy's own.
type Look struct {
	Color    string `json:"color"`    // "#rrggbb"; empty: Deputy's
	Logo     []byte `json:"logo"`     // an image; empty: Deputy's
	LogoType string `json:"logoType"` // its media type, see [LogoType]
}

// The bounds of a logo.
const (
	MaxLogo      = 128 << 10 // bytes
	maxLogoSides = 2048      // pixels
)

// minContrast is what text needs against what is behind it (WCAG 2.2, success
// criterion 1.4.3).
const minContrast = 4.5

// The grounds of pages on which the colour is used: white text stands on it in
// light pages, and it stands on the card in dark ones.
var (
	white    = rgb{255, 255, 255}
	black    = rgb{0, 0, 0}
	darkCard = rgb{0x18, 0x1e, 0x28}
	darkInk  = rgb{0x0d, 0x15, 0x26}
)

func (l Look) check() error {
	if l.Color != "" {
		c, ok := parseColor(l.Color)
		if !ok {
			return fault.New(fault.Invalid, "color_invalid", "%q is not a colour", name.Clip(l.Color, 40)).WithFix("give it as #rrggbb in lower case, such as #2f5bea")
		}
		if got := contrast(c, white); got < minContrast {
			return fault.New(fault.Invalid, "color_pale", "white text on %s could not be read: the contrast is %.1f", l.Color, got).
				WithFix("choose a darker colour, with a contrast of at least %.1f against white", minContrast)
		}
	}
	if len(l.Logo) == 0 && l.LogoType == "" {
		return nil
	}
	found, err := LogoType(l.Logo)
	if err == nil && found != l.LogoType {
		err = fault.New(fault.Invalid, "logo_invalid", "the logo is %s and not %s", found, name.Clip(l.LogoType, 40))
	}
	return err
}

// LogoType returns the media type of an image that may be a logo: PNG, JPEG or
// WebP, by its own header. Other formats, SVG above all, can carry script.
func LogoType(logo []byte) (string, error) {
	if len(logo) > MaxLogo {
		return "", fault.New(fault.Invalid, "logo_too_large", "the logo has %d bytes", len(logo)).WithFix("use at most %d", MaxLogo)
	}
	kind, width, height := imageSize(logo)
	if kind == "" {
		return "", fault.New(fault.Invalid, "logo_invalid", "the logo is not an image that browsers show safely").WithFix("use PNG, JPEG or WebP")
	}
	if width < 1 || height < 1 || width > maxLogoSides || height > maxLogoSides {
		return "", fault.New(fault.Invalid, "logo_too_large", "the logo is %d by %d pixels", width, height).WithFix("use at most %d by %d; it is shown at 28 by 28", maxLogoSides, maxLogoSides)
	}
	return kind, nil
}

// imageSize names the decoders, because [image.DecodeConfig] takes whatever some
// package of the program has registered.
func imageSize(b []byte) (kind string, width, height int) {
	if w, h, ok := webpSize(b); ok {
		return "image/webp", w, h
	}
	if c, err := png.DecodeConfig(bytes.NewReader(b)); err == nil {
		return "image/png", c.Width, c.Height
	}
	if c, err := jpeg.DecodeConfig(bytes.NewReader(b)); err == nil {
		return "image/jpeg", c.Width, c.Height
	}
	return "", 0, 0
}

// webpSize reads the header of a WebP image (RFC 9649, section 2).
func webpSize(b []byte) (width, height int, ok bool) {
	if len(b) < 30 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WEBP" {
		return 0, 0, false
	}
	chunk := b[20:]
	switch string(b[12:16]) {
	case "VP8 ": // a frame tag of 3 bytes, the start code, and two numbers of 14 bits
		ok = chunk[3] == 0x9d && chunk[4] == 0x01 && chunk[5] == 0x2a
		return int(chunk[6]) | int(chunk[7]&0x3f)<<8, int(chunk[8]) | int(chunk[9]&0x3f)<<8, ok
	case "VP8L": // a signature byte, and two numbers of 14 bits, less one
		bits := uint32(chunk[1]) | uint32(chunk[2])<<8 | uint32(chunk[3])<<16 | uint32(chunk[4])<<24
		return int(bits&0x3fff) + 1, int(bits>>14&0x3fff) + 1, chunk[0] == 0x2f
	case "VP8X": // flags, and two numbers of 24 bits, less one
		return (int(chunk[4]) | int(chunk[5])<<8 | int(chunk[6])<<16) + 1, (int(chunk[7]) | int(chunk[8])<<8 | int(chunk[9])<<16) + 1, true
	default:
		return 0, 0, false
	}
}

// Version is different for every look, and short: for addresses that are cached
// for good. It is empty for Deputy's own look.
func (l Look) Version() string {
	if l.Color == "" && len(l.Logo) == 0 {
		return ""
	}
	sum := sha256.Sum256(append([]byte(l.Color+"\x00"+l.LogoType+"\x00"), l.Logo...))
	return hex.EncodeToString(sum[:8])
}

// Stylesheet returns the rules that give pages the colour, in light and in dark,
// or "" if the colour is Deputy's. On dark pages the colour is made lighter until
// it can be read there.
func (l Look) Stylesheet() string {
	c, ok := parseColor(l.Color)
	if !ok {
		return ""
	}
	light := c
	for contrast(light, darkCard) < minContrast || contrast(light, darkInk) < minContrast {
		light = light.mix(white, .08)
	}
	return fmt.Sprintf(":root { --main: %s; --main-ink: #fff; --main-hover: %s; }\n"+
		"@media (prefers-color-scheme: dark) { :root { --main: %s; --main-ink: %s; --main-hover: %s; } }\n",
		c, c.mix(black, .2), light, darkInk, light.mix(white, .25))
}

// rgb is a colour in sRGB.
type rgb [3]uint8

func parseColor(s string) (rgb, bool) {
	if !colorShape.MatchString(s) {
		return rgb{}, false
	}
	n, err := strconv.ParseUint(s[1:], 16, 32)
	return rgb{uint8(n >> 16), uint8(n >> 8), uint8(n)}, err == nil
}

// String returns c as it is written in CSS.
func (c rgb) String() string { return fmt.Sprintf("#%02x%02x%02x", c[0], c[1], c[2]) }

// mix moves c towards other by a part of the way, and by one step at least.
func (c rgb) mix(other rgb, part float64) rgb {
	for i := range c {
		way := float64(other[i]) - float64(c[i])
		c[i] = uint8(float64(c[i]) + math.Copysign(math.Ceil(math.Abs(way)*part), way))
	}
	return c
}

// contrast returns the contrast ratio of two colours, 1 to 21 (WCAG 2.2).
func contrast(a, b rgb) float64 {
	x, y := a.luminance(), b.luminance()
	return (max(x, y) + .05) / (min(x, y) + .05)
}

// luminance is the relative luminance of WCAG 2.2.
func (c rgb) luminance() float64 {
	var linear [3]float64
	for i, v := range c {
		s := float64(v) / 255
		if linear[i] = s / 12.92; s > .04045 {
			linear[i] = math.Pow((s+.055)/1.055, 2.4)
		}
	}
	return .2126*linear[0] + .7152*linear[1] + .0722*linear[2]
}
