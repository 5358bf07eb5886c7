package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func readEvents(r io.Reader) (all []string, err error) {
	events := newEventReader(r)
	for {
		data, err := events.next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, string(data))
	}
}

func TestEventReader(t *testing.T) {
	for name, test := range map[string]struct {
		in   string
		want []string
	}{
		"one":               {"data: {}\n\n", []string{"{}"}},
		"no space":          {"data:{}\n\n", []string{"{}"}},
		"two spaces":        {"data:  x\n\n", []string{" x"}},
		"CRLF":              {"data: a\r\n\r\ndata: b\r\n\r\n", []string{"a", "b"}},
		"CR":                {"data: a\r\rdata: b\r\r", []string{"a", "b"}},
		"several lines":     {"data: a\ndata: b\n\n", []string{"a\nb"}},
		"comments":          {": hello\n\n:\ndata: a\n: x\n\n", []string{"a"}},
		"other fields":      {"event: state\nid: 7\nretry: 1\ndata: a\n\nevent: x\n\n", []string{"a"}},
		"field alone":       {"data\n\n", []string{""}},
		"longer field name": {"database: a\n\n", nil},
		"cut off":           {"data: a\n\ndata: b\n", []string{"a"}},
		"cut in a line":     {"data: a\n\ndata: b", []string{"a"}},
		"empty":             {"", nil},
	} {
		for _, reader := range []io.Reader{strings.NewReader(test.in), iotest.OneByteReader(strings.NewReader(test.in))} {
			got, err := readEvents(reader)
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Errorf("%s: %v %s", name, err, diff)
			}
		}
	}
}

func TestEventReaderBounds(t *testing.T) {
	endless := io.MultiReader(strings.NewReader("data: "), zeros{})
	if _, err := readEvents(endless); !errors.Is(err, errEventTooLarge) {
		t.Errorf("an endless line: %v", err)
	}
	lines := strings.Repeat("data: "+strings.Repeat("x", 1<<19)+"\n", 5)
	if _, err := readEvents(strings.NewReader(lines)); !errors.Is(err, errEventTooLarge) {
		t.Errorf("an endless event: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

func FuzzEventReader(f *testing.F) {
	for _, seed := range []string{"data: a\r\n\r\n", "data: a\ndata:b\r\r:c\n\n", "\ufeffdata: x\n\n", "id: 1\ndata\n\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, err := readEvents(bytes.NewReader(in))
		slow, slowErr := readEvents(iotest.OneByteReader(bytes.NewReader(in)))
		if diff := cmp.Diff(whole, slow); diff != "" || (err == nil) != (slowErr == nil) {
			t.Fatalf("how the bytes arrive changes the events: %s", diff)
		}
		// What was read, written again, reads the same.
		var out strings.Builder
		for _, data := range whole {
			if strings.Contains(data, "\r") {
				t.Fatalf("a line end inside a line: %q", data)
			}
			out.WriteString("data: " + strings.ReplaceAll(data, "\n", "\ndata: ") + "\n\n")
		}
		again, err := readEvents(strings.NewReader(out.String()))
		if diff := cmp.Diff(whole, again); diff != "" || err != nil {
			t.Fatalf("%v %s", err, diff)
		}
	})
}

func TestTranslator(t *testing.T) {
	origins := []string{"http://localhost:8080"}
	link := needs("http://localhost:8080/authorize?request_uri=urn:x")
	ask := message{Type: "authorization", URL: "http://localhost:8080/authorize?request_uri=urn:x", Provider: "feishu_oauth"}
	text := func(s string) message { return message{Type: "text", Text: s} }
	for name, test := range map[string]struct {
		in   []string
		want []message
	}{
		"pieces and the whole":       {[]string{piece("a"), piece("b"), whole("ab")}, []message{text("a"), text("b")}},
		"only the whole":             {[]string{whole("ab")}, []message{text("ab")}},
		"whole has more":             {[]string{piece("a"), whole("abc")}, []message{text("a"), text("bc")}},
		"whole differs":              {[]string{piece("a"), whole("x")}, []message{text("a"), text("\n\nx")}},
		"two runs":                   {[]string{piece("a"), whole("a"), piece("b"), piece("c"), whole("bc")}, []message{text("a"), text("\n\nb"), text("c")}},
		"two wholes":                 {[]string{whole("a"), whole("b")}, []message{text("a"), text("\n\nb")}},
		"all again at the end":       {[]string{piece("a"), piece("b"), whole("ab"), whole("ab")}, []message{text("a"), text("b")}},
		"thoughts and the user":      {[]string{`{"author":"a","content":{"parts":[{"text":"hm","thought":true},{"text":"x"}]}}`, `{"author":"user","content":{"parts":[{"text":"me"}]}}`}, []message{text("x")}},
		"unknown events":             {[]string{`{"new":"kind"}`, `{"author":"a","actions":{}}`, `"text"`, `7`, `null`, `[]`, `{"author":7}`, `{"content":{"parts":[{"inlineData":{}}]}}`}, nil},
		"link, then text":            {[]string{link, piece("a")}, []message{ask, {Type: "authorized"}, text("a")}},
		"link, then a tool's answer": {[]string{link, `{"author":"a","content":{"parts":[{"functionResponse":{"name":"read","response":{}}}]}}`, piece("a")}, []message{ask, {Type: "authorized"}, text("a")}},
		"link, then consent fails":   {[]string{link, `{"author":"a","content":{"parts":[{"functionResponse":{"name":"adk_request_credential","response":{"status":"failed","code":"access_denied"}}}]}}`, piece("a")}, []message{ask, text("a")}},
		"link, then another":         {[]string{link, link, piece("a")}, []message{ask, ask, {Type: "authorized"}, text("a")}},
		"link, then an error":        {[]string{link, `{"error":"you refused","error_type":"authorization_failed"}`}, []message{ask, errorMessage("authorization_failed", "you refused")}},
		"link, then nothing new":     {[]string{link, `{"author":"a"}`}, []message{ask}},
		"link in the second part":    {[]string{strings.Replace(link, `"parts":[`, `"parts":[{"text":"x"},`, 1)}, []message{ask}},
		"provider of odd shape":      {[]string{strings.Replace(link, ":feishu_oauth", ":<b>", 1)}, []message{{Type: "authorization", URL: ask.URL}}},
		"another function":           {[]string{strings.Replace(link, "adk_request_credential", "open_url", 1)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			tr := &translator{linkOrigins: origins}
			var got []message
			for _, event := range test.in {
				out, _ := tr.event([]byte(event))
				got = append(got, out...)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDefaultPortIsTheSameOrigin(t *testing.T) {
	if !allowedLink("https://ID.example.com:443/authorize", []string{"https://id.example.com:443"}) {
		t.Error("the explicit default port is another origin")
	}
	if allowedLink("http://id.example.com:443/", []string{"https://id.example.com:443"}) {
		t.Error("another scheme is the same origin")
	}
}

// No event makes the page open a link of another origin.
func FuzzTranslator(f *testing.F) {
	f.Add(needs("http://localhost:8080/authorize"), needs("javascript:alert(1)"))
	f.Add(piece("a"), whole("ab"))
	f.Add(`{"error":"x"}`, `{"content":null}`)
	f.Fuzz(func(t *testing.T, one, two string) {
		tr := &translator{linkOrigins: []string{"http://localhost:8080"}}
		for _, event := range []string{one, two} {
			out, stop := tr.event([]byte(event))
			for _, m := range out {
				if m.URL != "" && !strings.HasPrefix(strings.ToLower(m.URL), "http://localhost:8080") {
					t.Fatalf("link to %q", m.URL)
				}
				if m.Type == "error" != stop {
					t.Fatalf("%v, stop %v", m, stop)
				}
			}
		}
	})
}
