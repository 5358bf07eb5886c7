package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/wire"
)

type base struct {
	Kind string `json:"kind"`
}

type item struct {
	Name  string            `json:"name"`
	Count int8              `json:"count,omitempty"`
	Env   map[string]string `json:"env"`
}

type sample struct {
	base
	Items  []item          `json:"items"`
	When   *time.Time      `json:"when"`
	Scopes name.Scopes     `json:"scopes"`
	Secret secret.Text     `json:"secret"`
	Raw    json.RawMessage `json:"raw"`
	Any    any             `json:"any"`
	Hidden string          `json:"-"`
	Plain  bool
}

func TestDecode(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct{ name, in, code, message string }{
		{"everything", `{"kind":"k","items":[{"name":"n","count":1,"env":{"A":"b"}}],"when":"2026-01-02T03:04:05Z","scopes":["a"],"secret":"s","raw":{"x":1},"any":[{}],"Plain":true}`, "", ""},
		{"null", `null`, "", ""},
		{"blank after", "{} \n", "", ""},
		{"depth allowed", `{"any":` + deep(wire.MaxDepth-1) + `}`, "", ""},
		{"empty", ``, "json_invalid", "is empty"},
		{"malformed", `{"kind":}`, "json_invalid", "malformed at byte 9"},
		{"trailing data", `{} {}`, "json_invalid", "malformed at byte 4"},
		{"unknown", `{"knid":"x"}`, "json_unknown_field", `no field "knid"; did you mean kind?`},
		{"unknown deep", `{"items":[{},{"foo":1}]}`, "json_unknown_field", `"items[1].foo"`},
		{"hidden", `{"Hidden":"x"}`, "json_unknown_field", `"Hidden"`},
		{"embedded struct itself", `{"base":{}}`, "json_unknown_field", `"base"`},
		{"letter case", `{"KIND":"x"}`, "json_invalid", `"KIND" must be written "kind"`},
		{"twice", `{"kind":"a","kind":"b"}`, "json_invalid", `"kind" is there twice`},
		{"twice, escaped", `{"kind":"a","k\u0069nd":"b"}`, "json_invalid", "twice"},
		{"twice in a map", `{"items":[{"env":{"A":"1","A":"2"}}]}`, "json_invalid", `"items[0].env.A" is there twice`},
		{"twice in raw", `{"raw":{"a":{"b":1,"b":2}}}`, "json_invalid", `"raw.a.b" is there twice`},
		{"twice in any", `{"any":[{"b":1,"b":2}]}`, "json_invalid", `"any[0].b" is there twice`},
		{"too deep", `{"any":` + deep(wire.MaxDepth) + `}`, "json_invalid", "nested more than 64"},
		{"too deep, objects", strings.Repeat(`{"any":`, 70) + "1" + strings.Repeat("}", 70), "json_invalid", "nested more than 64"},
		{"type", `{"items":[{"name":5}]}`, "json_invalid", `"items.name" must be a string`},
		{"type of document", `[]`, "json_invalid", "an object"},
		{"overflow", `{"items":[{"count":999}]}`, "json_invalid", "must be an integer within its bounds"},
		{"time", `{"when":"yesterday"}`, "json_invalid", `"when" must be a time as in RFC 3339`},
		{"a fault of the type", `{"scopes":["a b"]}`, "scope_invalid", "scope"},
		{"type of a leaf", `{"secret":{"s":1}}`, "json_invalid", `"secret"`},
		{"UTF-8", "{\"kind\":\"\xff\"}", "json_invalid", "UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v sample
			err := wire.Decode(strings.NewReader(c.in), 10_000, &v)
			if c.code == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !fault.HasCode(err, c.code) || !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.message) {
				t.Errorf("got %v, want %s … %s", err, c.code, c.message)
			}
		})
	}
}

func TestDecodeFillsTheValue(t *testing.T) {
	var v sample
	if err := wire.Decode(strings.NewReader(`{"kind":"k","secret":"s3cret","items":[{"name":"n"}]}`), 100, &v); err != nil {
		t.Fatal(err)
	}
	if v.Kind != "k" || v.Secret.RevealString() != "s3cret" || v.Items[0].Name != "n" {
		t.Errorf("got %+v", v)
	}
}

func TestErrorsDoNotQuoteValues(t *testing.T) {
	for _, in := range []string{`{"kind":["s3cret"]}`, `{"items":"s3cret"}`, `{"when":"s3cret"}`, `{"kind":"s3cret`, `{"items":[{"count":31337}]}`, `{"secret":["s3cret"]}`} {
		var v sample
		err := wire.Decode(strings.NewReader(in), 100, &v)
		for e := err; e != nil; e = errors.Unwrap(e) {
			if strings.Contains(e.Error(), "s3cret") || strings.Contains(e.Error(), "31337") {
				t.Errorf("%s: %v", in, e)
			}
		}
		if err == nil {
			t.Errorf("%s was accepted", in)
		}
	}
}

func TestBounds(t *testing.T) {
	var v map[string]string
	doc := `{"a":"b"}`
	if err := wire.Decode(strings.NewReader(doc), int64(len(doc)), &v); err != nil {
		t.Error(err)
	}
	err := wire.Decode(strings.NewReader(doc), int64(len(doc)-1), &v)
	if !fault.HasCode(err, "json_too_large") || !fault.Is(err, fault.TooLarge) {
		t.Errorf("got %v", err)
	}
	endless := &counter{r: neverEnding('x')}
	if _, err := wire.ReadAll(endless, 1000); !fault.HasCode(err, "body_too_large") || endless.n > 1001 {
		t.Errorf("got %v after %d bytes", err, endless.n)
	}
	if b, err := wire.ReadAll(strings.NewReader(""), 0); err != nil || len(b) != 0 {
		t.Errorf("empty: %q %v", b, err)
	}
	if _, err := wire.ReadAll(strings.NewReader("x"), 0); !fault.HasCode(err, "body_too_large") {
		t.Errorf("limit zero: %v", err)
	}
	if b, err := wire.ReadAll(nil, 5); err != nil || b != nil {
		t.Errorf("nil reader: %q %v", b, err)
	}
	if _, err := wire.ReadAll(iotest.ErrReader(errors.New("reset")), 5); !fault.HasCode(err, "body_unreadable") {
		t.Errorf("got %v", err)
	}
	capped := http.MaxBytesReader(nil, io.NopCloser(strings.NewReader("abcdef")), 3)
	if _, err := wire.ReadAll(capped, 100); !fault.HasCode(err, "body_too_large") {
		t.Errorf("got %v", err)
	}
}

type neverEnding byte

func (b neverEnding) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b)
	}
	return len(p), nil
}

type counter struct {
	r io.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

func TestDecodeForeign(t *testing.T) {
	type answer struct {
		Code int `json:"code"`
	}
	var a answer
	if err := wire.DecodeForeign([]byte(`{"code":7,"new":{"x":[1]}}`), &a); err != nil || a.Code != 7 {
		t.Errorf("got %+v, %v", a, err)
	}
	for _, in := range []string{`<html>`, `{"code":1,"code":2}`, `{"Code":1}`, `{"x":{"y":1,"y":2}}`, `{"code":"1"}`, `{}x`} {
		if err := wire.DecodeForeign([]byte(in), &a); !fault.HasCode(err, "json_invalid") || !fault.Is(err, fault.Upstream) {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestWrite(t *testing.T) {
	w := httptest.NewRecorder()
	wire.Write(w, http.StatusCreated, map[string]string{"url": "a?b&c"})
	h := w.Result().Header
	if w.Code != 201 || w.Body.String() != `{"url":"a?b&c"}`+"\n" || h.Get("Content-Type") != "application/json" ||
		h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("got %d %s %v", w.Code, w.Body, h)
	}
	w = httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/problem+json")
	wire.Write(w, 400, struct{}{})
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("got %s", got)
	}
	w = httptest.NewRecorder()
	wire.Write(w, 200, func() {})
	if w.Code != 500 || !json.Valid(w.Body.Bytes()) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

// FuzzDecode: whatever is accepted means the same to every JSON parser, so it
// decodes to the same value after its members were sorted and written again.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"kind":"k","items":[{"name":"n","env":{"A":"b"}}],"scopes":["a"]}`))
	f.Add([]byte(`{"kind":"a","KIND":"b"}`))
	f.Add([]byte("[[[{\"a\":1,\"a\":2}]]]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v sample
		if wire.Decode(bytes.NewReader(b), 1<<16, &v) != nil {
			return
		}
		var tree any
		if err := json.Unmarshal(b, &tree); err != nil {
			t.Fatalf("accepted what is not JSON: %v", err)
		}
		sorted, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		var again sample
		if err := wire.Decode(bytes.NewReader(sorted), 1<<20, &again); err != nil {
			t.Fatalf("%s\nis refused when it is written as\n%s: %v", b, sorted, err)
		}
		if v.Kind != again.Kind || len(v.Items) != len(again.Items) || v.Scopes.String() != again.Scopes.String() {
			t.Errorf("%+v became %+v", v, again)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	doc := `{"provider":"feishu_oauth","scopes":["docx:document:readonly"],"force":false}`
	b.ReportAllocs()
	for b.Loop() {
		var v struct {
			Provider string      `json:"provider"`
			Scopes   name.Scopes `json:"scopes"`
			Force    bool        `json:"force"`
		}
		if err := wire.Decode(strings.NewReader(doc), 1<<16, &v); err != nil {
			b.Fatal(err)
		}
	}
}
