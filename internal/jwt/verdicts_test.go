package jwt_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/jwt"
)

func TestVerdictsHoldUntilExpiryAndAtMostAMinute(t *testing.T) {
	now := epoch
	v := jwt.NewVerdicts[jwt.Claims](func() time.Time { return now })
	asked := 0
	ask := func(token string, life time.Duration) {
		t.Helper()
		c, err := v.Verify(token, func(string) (jwt.Claims, time.Time, error) {
			asked++
			return jwt.Until(jwt.Claims{Subject: token, ExpiresAt: epoch.Add(life)}, nil)
		})
		if err != nil || c.Subject != token {
			t.Fatalf("got %+v, %v", c, err)
		}
	}
	for _, step := range []struct {
		token string
		life  time.Duration
		at    time.Duration
		asked int
	}{
		{"long", time.Hour, 0, 1},
		{"long", time.Hour, 59 * time.Second, 1},
		{"long", time.Hour, 60 * time.Second, 2},
		{"short", 90 * time.Second, 60 * time.Second, 3},
		{"short", 90 * time.Second, 89 * time.Second, 3},
		{"short", 90 * time.Second, 90 * time.Second, 4},
		{"short", 90 * time.Second, 90 * time.Second, 5}, // expired: never from memory
	} {
		now = epoch.Add(step.at)
		ask(step.token, step.life)
		if asked != step.asked {
			t.Errorf("%s at %v: asked %d times, want %d", step.token, step.at, asked, step.asked)
		}
	}
}

func TestRefusalsAreNotRemembered(t *testing.T) {
	v := jwt.NewVerdicts[jwt.Claims](nil)
	refusal := errors.New("no")
	for i := range 3 {
		_, err := v.Verify("token", func(string) (jwt.Claims, time.Time, error) {
			if i < 2 {
				return jwt.Until(jwt.Claims{}, refusal)
			}
			return jwt.Until(jwt.Claims{ExpiresAt: time.Now().Add(time.Hour)}, nil)
		})
		if (err != nil) != (i < 2) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

func TestForgetAlsoDropsVerdictsInTheMaking(t *testing.T) {
	v := jwt.NewVerdicts[jwt.Claims](func() time.Time { return epoch })
	good := jwt.Claims{ExpiresAt: epoch.Add(time.Hour)}
	if _, err := v.Verify("t", func(string) (jwt.Claims, time.Time, error) {
		v.Forget() // the key is withdrawn while the signature is being checked
		return jwt.Until(good, nil)
	}); err != nil {
		t.Fatal(err)
	}
	asked := false
	if _, err := v.Verify("t", func(string) (jwt.Claims, time.Time, error) { asked = true; return jwt.Until(good, nil) }); err != nil || !asked {
		t.Errorf("a verdict from before Forget is used: %v", err)
	}
}

func TestVerdictsAreBounded(t *testing.T) {
	v := jwt.NewVerdicts[jwt.Claims](func() time.Time { return epoch })
	good := jwt.Claims{ExpiresAt: epoch.Add(time.Hour)}
	for i := range 30_000 {
		if _, err := v.Verify(fmt.Sprint(i), func(string) (jwt.Claims, time.Time, error) { return jwt.Until(good, nil) }); err != nil {
			t.Fatal(err)
		}
	}
	remembered := 0
	for i := range 30_000 {
		hit := true
		if _, err := v.Verify(fmt.Sprint(i), func(string) (jwt.Claims, time.Time, error) {
			hit = false
			return jwt.Until(jwt.Claims{}, errors.New("miss"))
		}); err == nil && hit {
			remembered++
		}
	}
	if remembered == 0 || remembered > 11_000 {
		t.Errorf("%d verdicts are remembered", remembered)
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, algorithm := range []string{jwt.ES256, jwt.EdDSA, jwt.RS256} {
		k := generate(b, algorithm)
		set, token, e := jwt.NewSet(k), "", expect()
		token = sign(b, k, "at+jwt", claims(nil))
		b.Run(algorithm+"/signature", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := set.Verify(token, e); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(algorithm+"/verdict", func(b *testing.B) {
			b.ReportAllocs()
			v := jwt.NewVerdicts[jwt.Claims](e.Now)
			for b.Loop() {
				if _, err := v.Verify(token, func(t string) (jwt.Claims, time.Time, error) { return jwt.Until(set.Verify(t, e)) }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSign(b *testing.B) {
	k, c := generate(b, jwt.ES256), claims(nil)
	b.ReportAllocs()
	for b.Loop() {
		sign(b, k, "at+jwt", c)
	}
}
