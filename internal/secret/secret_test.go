package secret_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/secret"
)

const plain = "hunter2-hunter2"

// holder has every shape in which a secret may be nested in a value that somebody prints.
type holder struct {
	Bare    secret.Text
	Pointer *secret.Text
	Slice   []secret.Text
	Map     map[string]secret.Text
	Any     any
	hidden  secret.Text
}

func leaks(s string) bool {
	for _, form := range []string{plain, fmt.Sprintf("%x", plain), fmt.Sprintf("%X", plain), fmt.Sprint([]byte(plain))} {
		if strings.Contains(s, strings.Trim(form, "[]")) {
			return true
		}
	}
	return false
}

func TestNothingPrintsASecret(t *testing.T) {
	s := secret.FromString(plain)
	h := holder{s, &s, []secret.Text{s}, map[string]secret.Text{"k": s}, s, s}
	values := map[string]any{"value": s, "pointer": &s, "nested": h, "nested pointer": &h}
	for name, v := range values {
		t.Run(name, func(t *testing.T) {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%c", "%o", "%U", "%e", "%t"} {
				got := fmt.Sprintf(verb, v)
				if leaks(got) {
					t.Errorf("fmt %s leaks: %s", verb, got)
				}
			}
			if b, err := json.Marshal(v); err != nil || leaks(string(b)) {
				t.Errorf("json: %s, %v", b, err)
			}
			var buf bytes.Buffer
			for _, handler := range []slog.Handler{slog.NewTextHandler(&buf, nil), slog.NewJSONHandler(&buf, nil)} {
				slog.New(handler).Info("m", "k", v)
			}
			if leaks(buf.String()) {
				t.Errorf("slog leaks: %s", buf.String())
			}
		})
	}
	if b, err := xml.Marshal(s); err != nil || leaks(string(b)) {
		t.Errorf("xml: %s, %v", b, err)
	}
	if err := gob.NewEncoder(&bytes.Buffer{}).Encode(s); err == nil {
		t.Error("gob serialized a secret")
	}
}

func TestEqual(t *testing.T) {
	a, b := secret.FromString("a"), secret.FromString("b")
	for _, c := range []struct {
		x, y secret.Text
		want bool
	}{{a, a, true}, {a, secret.FromString("a"), true}, {a, b, false}, {a, secret.Text{}, false}, {secret.Text{}, secret.Text{}, false}} {
		if got := secret.Equal(c.x, c.y); got != c.want {
			t.Errorf("Equal = %v, want %v", got, c.want)
		}
	}
}

func TestDigestDependsOnPurpose(t *testing.T) {
	s := secret.FromString(plain)
	if s.Digest("link") == s.Digest("state") {
		t.Error("one digest serves two purposes")
	}
	if s.Digest("link") != secret.FromString(plain).Digest("link") {
		t.Error("the digest is not stable")
	}
}

func TestClearWipesEveryCopy(t *testing.T) {
	a := secret.FromString(plain)
	b := a
	b.Clear()
	if bytes.Contains(a.Reveal(), []byte("hunter")) {
		t.Error("a copy survived Clear")
	}
}
