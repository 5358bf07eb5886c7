package e2e_test

import (
	"os"
	"path/filepath"

	"github.com/chromedp/chromedp"
)

// screen is a size of window in which pictures are taken.
type screen struct {
	name          string
	width, height int
}

var (
	desktop = screen{"desktop", 1100, 760}
	phone   = screen{"phone", 390, 844}
)

// pictures is where pictures are wanted; "" is nowhere.
func pictures() string { return os.Getenv("DEPUTY_SCREENSHOTS") }

// picturePorts are the demo's own, so that the pictures show what people see.
func picturePorts() []string { return []string{"8080", "8090", "8082", "8083"} }

// shoot saves pictures of the page as it is, in both sizes, if pictures are
// wanted.
func (p tab) shoot(name string) {
	p.t.Helper()
	dir := pictures()
	if dir == "" {
		return
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		p.t.Fatal(err)
	}
	for _, s := range []screen{phone, desktop} {
		p.do(chromedp.EmulateViewport(int64(s.width), int64(s.height)))
		picture := read(p, chromedp.CaptureScreenshot())
		if err := os.WriteFile(filepath.Join(dir, name+"-"+s.name+".png"), picture, 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
	p.do(chromedp.ResetViewport())
}

// shootBoth saves pictures in both languages, with a click on the page's own
// switch in between and one back.
func (p tab) shootBoth(name, toggle string) {
	p.t.Helper()
	if pictures() == "" {
		return
	}
	for range 2 {
		language := read(p, chromedp.Evaluate[string](`document.documentElement.lang.slice(0, 2)`))
		p.shoot(name + "-" + language)
		p.do(click(toggle), chromedp.WaitReady(chromedp.CSS(`html:not([lang^="`+language+`"])`)),
			chromedp.MouseEvent(chromedp.MouseMoved, 1, 1)) // a link under the mouse looks different
	}
}
