package ingress_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
)

// BenchmarkInvoke measures an invocation through the ingress and through a bare
// httputil.ReverseProxy, taken in turns in one run: what is reported is their
// ratio.
func BenchmarkInvoke(b *testing.B) {
	w := newWorld(b, func(rw http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(rw, `{"answer":"42"}`)
	}, nil)
	target, err := url.Parse(w.agent.URL)
	if err != nil {
		b.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	plain := httptest.NewServer(&httputil.ReverseProxy{Transport: transport, FlushInterval: -1, Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }})
	b.Cleanup(plain.Close)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	token := "Bearer " + w.good()
	run := func(b *testing.B, base string) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				req, err := http.NewRequest(http.MethodPost, base+invoke, strings.NewReader(`{"prompt":"what is the answer?"}`))
				if err != nil {
					b.Error(err)
					return
				}
				req.Header.Set("Authorization", token)
				res, err := client.Do(req)
				if err != nil {
					b.Error(err)
					return
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode != http.StatusOK {
					b.Errorf("status %d", res.StatusCode)
					return
				}
			}
		})
	}
	var bare float64
	b.Run("proxy", func(b *testing.B) {
		run(b, plain.URL)
		bare = float64(b.Elapsed()) / float64(b.N)
	})
	b.Run("ingress", func(b *testing.B) {
		run(b, w.ingress.URL)
		b.ReportMetric(bare*float64(b.N)/float64(b.Elapsed()), "of-proxy-rate")
	})
}
