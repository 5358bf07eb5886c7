package rest_test

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/png"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/userpool"
)

type poolShown struct {
	Name, DisplayName, LogoType string
	Version                     int64
	Settings                    map[string]any
}

func TestUserPoolSettings(t *testing.T) {
	w := newWorld(t)
	var pool poolShown
	w.expect(200, "GET", "/user-pools/people", "", &pool)
	if pool.Version != 1 || pool.Settings["secondFactor"] != "optional" || pool.Settings["signUp"] != false {
		t.Errorf("the pool is %+v", pool)
	}
	w.expect(200, "PATCH", "/user-pools/people", `{"version":1,"displayName":"人","settings":{"signUp":true,"color":"#0b6e4f","passwordMinLength":12,"keyLifetime":86400}}`, &pool)
	if pool.Version != 2 || pool.DisplayName != "人" || pool.Settings["signUp"] != true || pool.Settings["color"] != "#0b6e4f" || pool.Settings["passwordMinLength"] != 12.0 ||
		pool.Settings["keyLifetime"] != 86400.0 || pool.Settings["secondFactor"] != "optional" || pool.Settings["refreshGrace"] != 10.0 || pool.Settings["refuseBreached"] != true {
		t.Errorf("the pool is %+v", pool)
	}
	var again poolShown
	w.expect(200, "GET", "/user-pools/people", "", &again)
	if again.Version != 2 || again.DisplayName != "人" || again.Settings["color"] != "#0b6e4f" {
		t.Errorf("the pool is kept as %+v", again)
	}
	w.expect(409, "PATCH", "/user-pools/people", `{"version":1,"displayName":"x"}`, nil)
	w.expect(200, "PATCH", "/user-pools/people", `{"settings":{"color":""}}`, &pool)
	if pool.Version != 3 || pool.Settings["color"] != "" || pool.Settings["signUp"] != true || pool.DisplayName != "人" {
		t.Errorf("the pool is %+v", pool)
	}
	for body, code := range map[string]string{
		`{"settings":{"color":"#ffffff"}}`: "color_pale", `{"settings":{"color":"red;}"}}`: "color_invalid", `{"settings":{"secondFactor":"sometimes"}}`: "second_factor_invalid",
		`{"settings":{"keyLifetime":60}}`: "lifetime_invalid", `{"settings":{"keyLifetime":99999999999}}`: "lifetime_invalid", `{"settings":{"refreshGrace":-1}}`: "grace_invalid",
		`{"settings":{"passwordMinLength":4}}`: "password_policy_invalid", `{"settings":{"algorithm":"none"}}`: "algorithm_invalid", `{"displayName":"a\u202eb"}`: "text_invalid",
	} {
		if a := w.call("PATCH", "/user-pools/people", w.operator, body); a.status != 400 || !strings.Contains(a.body, `"`+code+`"`) {
			t.Errorf("%s: %d %s, want %s", body, a.status, a.body, code)
		}
	}
	w.expect(400, "PATCH", "/user-pools/people", `{"name":"other"}`, nil)
	w.expect(400, "PATCH", "/user-pools/people", `{"settings":{"sign_up":true}}`, nil)
	w.expect(404, "PATCH", "/user-pools/nobody", `{}`, nil)
	w.expect(201, "POST", "/user-pools", `{"name":"guests","settings":{"recovery":true}}`, &pool)
	if pool.Settings["recovery"] != true || pool.Settings["algorithm"] != "ES256" {
		t.Errorf("the new pool is %+v", pool)
	}
}

func TestUserPoolIsDeletedOnPurpose(t *testing.T) {
	w := newWorld(t)
	w.create("/user-pools", `{"name":"guests"}`, nil)
	for _, path := range []string{"/user-pools/guests", "/user-pools/guests?confirm=", "/user-pools/guests?confirm=people", "/user-pools/guests?confirm=true"} {
		w.expect(400, "DELETE", path, "", nil)
	}
	w.expect(204, "DELETE", "/user-pools/guests?confirm=guests", "", nil)
	w.expect(404, "DELETE", "/user-pools/guests?confirm=guests", "", nil)
	w.expect(404, "GET", "/user-pools/guests", "", nil)
	w.expect(200, "GET", "/user-pools/people", "", nil)
}

func TestLogo(t *testing.T) {
	w := newWorld(t)
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewNRGBA(image.Rect(0, 0, 28, 28))); err != nil {
		t.Fatal(err)
	}
	body := func(logo []byte) string { return `{"image":"` + base64.StdEncoding.EncodeToString(logo) + `"}` }
	var pool poolShown
	w.expect(200, "PUT", "/user-pools/people/logo", body(b.Bytes()), &pool)
	if pool.LogoType != "image/png" || pool.Version != 2 {
		t.Errorf("the pool is %+v", pool)
	}
	largest := append(bytes.Clone(b.Bytes()), make([]byte, userpool.MaxLogo-b.Len())...)
	w.expect(200, "PUT", "/user-pools/people/logo", body(largest), &pool)
	w.expect(400, "PUT", "/user-pools/people/logo", body(append(largest, 0)), nil)
	w.expect(413, "PUT", "/user-pools/people/logo", body(append(largest, make([]byte, 4<<10)...)), nil)
	w.expect(400, "PUT", "/user-pools/people/logo", body([]byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`)), nil)
	w.expect(400, "PUT", "/user-pools/people/logo", `{"image":"not base64!"}`, nil)
	pool = poolShown{}
	w.expect(200, "DELETE", "/user-pools/people/logo", "", &pool)
	if pool.LogoType != "" || pool.Version != 4 {
		t.Errorf("the pool is %+v", pool)
	}
}
