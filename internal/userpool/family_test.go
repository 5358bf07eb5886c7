package userpool_test

import (
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/userpool"
)

func TestUsesOfRefreshTokens(t *testing.T) {
	moved := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	const grace = 10 * time.Second
	for what, c := range map[string]struct {
		head, generation int64
		after, grace     time.Duration
		want             userpool.Refresh
	}{
		"the newest":                        {3, 3, time.Hour, grace, userpool.RefreshRotates},
		"the first":                         {1, 1, 0, grace, userpool.RefreshRotates},
		"the one before, at once":           {3, 2, 0, grace, userpool.RefreshRepeated},
		"the one before, in the grace":      {3, 2, grace - 1, grace, userpool.RefreshRepeated},
		"the one before, after the grace":   {3, 2, grace, grace, userpool.RefreshReused},
		"the one before, without a grace":   {3, 2, 0, 0, userpool.RefreshReused},
		"the one before that, in the grace": {3, 1, 0, grace, userpool.RefreshReused},
		"one that cannot be":                {3, 4, 0, grace, userpool.RefreshReused},
		"of a family that never had one":    {0, 0, 0, grace, userpool.RefreshReused},
		"nought of a family that has one":   {1, 0, 0, grace, userpool.RefreshReused},
	} {
		f := userpool.Family{Head: c.head, AdvancedAt: moved}
		if got := f.Use(c.generation, moved.Add(c.after), c.grace); got != c.want {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
}

func TestFamiliesDie(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	user := userpool.User{ID: "usr_1", Pool: "staff", PasswordChangedAt: start.Add(-time.Hour)}
	for what, c := range map[string]struct {
		edit  func(*userpool.Family, *userpool.User)
		after time.Duration
		alive bool
	}{
		"at once":                 {nil, 0, true},
		"at its end":              {nil, time.Hour, false},
		"ended":                   {func(f *userpool.Family, _ *userpool.User) { f.EndedAt = start }, time.Second, false},
		"user disabled":           {func(_ *userpool.Family, u *userpool.User) { u.Disabled = true }, 0, false},
		"password changed since":  {func(_ *userpool.Family, u *userpool.User) { u.PasswordChangedAt = start.Add(time.Second) }, time.Minute, false},
		"another user":            {func(_ *userpool.Family, u *userpool.User) { u.ID = "usr_2" }, 0, false},
		"a user of another pool":  {func(_ *userpool.Family, u *userpool.User) { u.Pool = "guests" }, 0, false},
		"of which nothing is set": {func(f *userpool.Family, _ *userpool.User) { *f = userpool.Family{} }, 0, false},
	} {
		f, u := userpool.Family{ID: "fam_1", Pool: "staff", UserID: "usr_1", AuthTime: start, ExpiresAt: start.Add(time.Hour)}, user
		if c.edit != nil {
			c.edit(&f, &u)
		}
		if got := f.Alive(u, start.Add(c.after)); got != c.alive {
			t.Errorf("%s: alive = %v", what, got)
		}
	}
	idle := userpool.Family{IdleExpiresAt: start}
	if (userpool.Family{}).Idle(start) || !idle.Idle(start) || idle.Idle(start.Add(-1)) {
		t.Error("idleness is told wrongly")
	}
}

func TestClassesOfLogins(t *testing.T) {
	for _, c := range []struct {
		methods []string
		want    string
	}{{nil, ""}, {[]string{"pwd"}, userpool.ACRSingle}, {[]string{"fed"}, userpool.ACRSingle}, {[]string{"pwd", "otp", "mfa"}, userpool.ACRMulti}} {
		if got := userpool.ACR(c.methods); got != c.want {
			t.Errorf("%v: %q", c.methods, got)
		}
	}
}
