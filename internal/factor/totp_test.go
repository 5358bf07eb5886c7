package factor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/secret"
)

// TestVectors holds the codes against RFC 6238, appendix B (SHA-1) and RFC 4226,
// appendix D.
func TestVectors(t *testing.T) {
	key := []byte("12345678901234567890")
	for unix, want := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130",
	} {
		if got := code(key, uint64(unix/30), 8); got != want {
			t.Errorf("at %d: %s, want %s", unix, got, want)
		}
	}
	for counter, want := range []string{"755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"} {
		if got := code(key, uint64(counter), 6); got != want {
			t.Errorf("counter %d: %s, want %s", counter, got, want)
		}
	}
}

func TestMatch(t *testing.T) {
	key := []byte("12345678901234567890")
	const step = 1_000_000
	now := time.Unix(step*30+15, 0)
	for off, ok := range map[int64]bool{-2: false, -1: true, 0: true, 1: true, 2: false} {
		got, matched := match(key, secret.FromString(code(key, uint64(step+off), 6)), now, 0)
		if matched != ok || (ok && got != step+off) {
			t.Errorf("%+d steps off: %d, %v", off, got, matched)
		}
	}
	right := code(key, step, 6)
	for typed, ok := range map[string]bool{
		right: true, " " + right[:3] + " " + right[3:] + " ": true, right[:5]: false, right + "0": false, "": false, "-" + right: false,
		strings.Repeat(" ", 100) + right: false, strings.Repeat("0", 1000): false,
	} {
		if _, matched := match(key, secret.FromString(typed), now, 0); matched != ok {
			t.Errorf("%q: %v", typed, matched)
		}
	}
	if _, again := match(key, secret.FromString(right), now, step); again {
		t.Error("a step that was used is accepted")
	}
	if _, before := match(key, secret.FromString(code(key, step-1, 6)), now, step); before {
		t.Error("a step before one that was used is accepted")
	}
}

func TestSeeds(t *testing.T) {
	seed := NewSeed()
	if key, ok := parseSeed(seed); !ok || len(key) != 20 || secret.Equal(seed, NewSeed()) {
		t.Errorf("a fresh seed: %d bytes, %v", len(key), ok)
	}
	for _, bad := range []string{"", "JBSWY3DPEHPK3PXP", strings.Repeat("1", 32), strings.Repeat("A", 33), strings.Repeat("A", 4096)} {
		if _, ok := parseSeed(secret.FromString(bad)); ok {
			t.Errorf("%.40q is taken for a seed", bad)
		}
	}
	uri := KeyURI("研发 Staff: R&D", "zhang", secret.FromString("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")).RevealString()
	const want = "otpauth://totp/%E7%A0%94%E5%8F%91%20Staff%20%20R%26D:zhang?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=" +
		"%E7%A0%94%E5%8F%91%20Staff%20%20R%26D&algorithm=SHA1&digits=6&period=30"
	if uri != want {
		t.Errorf("got  %s\nwant %s", uri, want)
	}
	side, path, err := QR(secret.FromString(uri))
	if err != nil || side < 29 || !strings.HasPrefix(path, "M4 4h7v1h-7z") {
		t.Errorf("QR: side %d, path %.40q, %v", side, path, err)
	}
}

func TestRecoveryCodes(t *testing.T) {
	c := newRecovery().RevealString()
	if len(c) != 19 || strings.Count(c, "-") != 3 {
		t.Errorf("a fresh code: %q", c)
	}
	want := HashRecovery(secret.FromString("0123-abcd-1111-0000"))
	for typed, same := range map[string]bool{
		"0123abcd11110000": true, " 0123 ABCD 1111 0000 ": true, "o123-abcd-iLl1-OOOO": true, "0123-abcd-1111-0001": false, "": false,
		"0123-abcd-1111-0000" + strings.Repeat("-", 100) + "x": true, // what is too long to be one is cut, and is of no use to anybody
	} {
		if (HashRecovery(secret.FromString(typed)) == want) != same {
			t.Errorf("%q: want same %v", typed, same)
		}
	}
}

// FuzzTyped types anything for a code and for a recovery code.
func FuzzTyped(f *testing.F) {
	f.Add("123456")
	f.Add("０１２３４５")
	f.Add("abcd-efgh-jkmn-pqrs")
	key, now := []byte("12345678901234567890"), time.Unix(1_700_000_000, 0)
	f.Fuzz(func(t *testing.T, typed string) {
		HashRecovery(secret.FromString(typed))
		step, ok := match(key, secret.FromString(typed), now, 0)
		if !ok {
			return
		}
		if bare := strings.ReplaceAll(strings.TrimSpace(typed), " ", ""); bare != fmt.Sprint(code(key, uint64(step), 6)) {
			t.Errorf("%q is taken for the code of step %d", typed, step)
		}
	})
}
