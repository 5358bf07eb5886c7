package userpool_test

import (
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/userpool"
)

func TestUserCodesAreReadAsTheyAreTyped(t *testing.T) {
	for typed, want := range map[string]string{
		"WDJB-MJHT": "WDJBMJHT", "wdjbmjht": "WDJBMJHT", " wd jb-mj ht ": "WDJBMJHT", "WDJB--MJHT": "WDJBMJHT",
		"": "", "WDJB-MJH": "", "WDJB-MJHTT": "", "WDJB-MJHA": "", "WDJB-MJH0": "", "WDJB_MJHT": "", "ＷDJB-MJHT": "",
		"wdjb-mjhſ":                      "", // folds to S: what is not ASCII is not a letter of a code
		strings.Repeat("-", 40) + "WDJB": "",
	} {
		got, ok := userpool.ParseUserCode(typed)
		if ok != (want != "") || ok && string(got) != want {
			t.Errorf("%q is read as %q, %v; want %q", typed, got, ok, want)
		}
	}
}

func TestUserCodesAreEven(t *testing.T) {
	counts := map[rune]int{}
	for range 5000 {
		c := userpool.NewUserCode()
		if got, ok := userpool.ParseUserCode(c.String()); !ok || got != c || len(c.String()) != 9 {
			t.Fatalf("%s does not come back", c)
		}
		for _, r := range c {
			counts[r]++
		}
	}
	// 40000 letters of 20: 2000 each, with a standard deviation of 44.
	for r, n := range counts {
		if n < 1700 || n > 2300 {
			t.Errorf("%c came %d times", r, n)
		}
	}
	if len(counts) != 20 {
		t.Errorf("%d different letters", len(counts))
	}
}

func FuzzParseUserCode(f *testing.F) {
	for _, s := range []string{"WDJB-MJHT", "wdjbmjht", "", "ß", "\xff-", "AAAA-AAAA"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		c, ok := userpool.ParseUserCode(typed)
		if !ok {
			return
		}
		if again, ok := userpool.ParseUserCode(c.String()); !ok || again != c {
			t.Errorf("%q is read as %q, and that as %q", typed, c, again)
		}
	})
}
