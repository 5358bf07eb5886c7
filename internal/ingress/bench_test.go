package ingress_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/ingress"
	"github.com/deputy-id/deputy/internal/measure"
)

const invokers = 64

// bench is an ingress, a bare httputil.ReverseProxy and nothing at all before the
// same agent.
type bench struct {
	*world
	proxy  *httptest.Server
	client *http.Client
	token  string
}

func newBench(b *testing.B, concurrent int, agentHandler http.HandlerFunc) bench {
	b.Helper()
	w := newWorld(b, agentHandler, func(c *ingress.Config) {
		c.Recorder = forgetful{}
		// High enough for all to be let in, and counted all the same.
		c.Limits.MaxConcurrent, c.Limits.MaxPerCaller, c.Limits.Rate, c.Limits.Burst = concurrent, concurrent, 1<<30, 1<<30
	})
	target, err := url.Parse(w.agent.URL)
	if err != nil {
		b.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: concurrent, DisableCompression: true}
	proxy := httptest.NewServer(&httputil.ReverseProxy{Transport: transport, Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }})
	b.Cleanup(proxy.Close)
	return bench{w, proxy, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: concurrent}}, "Bearer " + w.good()}
}

// forgetful is a recorder whose memory does not grow with what is measured.
type forgetful struct{}

func (forgetful) Record(context.Context, ingress.Decision) error { return nil }

// open invokes the agent by way of base.
func (w bench) open(base string) (*http.Response, error) {
	req, err := http.NewRequest(http.MethodPost, base+invoke, strings.NewReader(`{"prompt":"what is the answer?"}`))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", w.token)
	return w.client.Do(req)
}

// load makes n invocations and returns what one cost.
func (w bench) load(b *testing.B, base string, n int) measure.Load {
	b.Helper()
	l, err := measure.Run(invokers, n, func(int) error {
		res, err := w.open(base)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		_, err = io.Copy(io.Discard, res.Body)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return l
}

// BenchmarkInvoke measures an invocation through the ingress, through a bare
// httputil.ReverseProxy and without either, in turns in one run. It reports
//
//	cpux       processor time with the ingress over that with the proxy: client and agent are in both (median of the turns)
//	alone-x    the same without client and agent, as measured without either
//	ingress-us processor time of one invocation through the ingress, client and agent included
//	rate-x     invocations per second with the ingress over those with the proxy
//
// Run it with -benchtime 10x.
func BenchmarkInvoke(b *testing.B) {
	w := newBench(b, invokers, func(rw http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(rw, `{"answer":"42"}`)
	})
	const n = 2000
	w.load(b, w.ingress.URL, n) // warm up
	var costs, alone, times, rates []float64
	for b.Loop() {
		direct, proxy, in := w.load(b, w.agent.URL, n), w.load(b, w.proxy.URL, n), w.load(b, w.ingress.URL, n)
		costs, alone = append(costs, in.CPU.Seconds()/proxy.CPU.Seconds()), append(alone, (in.CPU-direct.CPU).Seconds()/(proxy.CPU-direct.CPU).Seconds())
		times, rates = append(times, in.CPU.Seconds()*1e6), append(rates, in.Rate/proxy.Rate)
	}
	b.ReportMetric(measure.Median(costs), "cpux")
	b.ReportMetric(measure.Median(alone), "alone-x")
	b.ReportMetric(measure.Median(times), "ingress-us")
	b.ReportMetric(measure.Median(rates), "rate-x")
	b.ReportMetric(0, "ns/op") // a turn is no operation
}

// BenchmarkFirstEvent measures how long the first event of a stream takes from
// the agent's write to the client's read, one stream after the other, and reports
//
//	median-us, worst-us   through the ingress
//	proxy-us              through a bare httputil.ReverseProxy, the median
//
// Run it with -benchtime 200x.
func BenchmarkFirstEvent(b *testing.B) {
	wrote := make(chan time.Time, 1)
	w := newBench(b, invokers, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		wrote <- time.Now()
		io.WriteString(rw, "data: 1\n\n")
		http.NewResponseController(rw).Flush()
		<-r.Context().Done()
	})
	first := func(base string) float64 {
		res, err := w.open(base)
		if err != nil {
			b.Fatal(err)
		}
		defer res.Body.Close()
		if line, err := bufio.NewReader(res.Body).ReadString('\n'); err != nil || line != "data: 1\n" {
			b.Fatalf("%q %v", line, err)
		}
		return float64(time.Since(<-wrote)) / float64(time.Microsecond)
	}
	first(w.ingress.URL) // warm up
	var in, proxy []float64
	worst := 0.0
	for b.Loop() {
		in, proxy = append(in, first(w.ingress.URL)), append(proxy, first(w.proxy.URL))
		worst = max(worst, in[len(in)-1])
	}
	b.ReportMetric(measure.Median(in), "median-us")
	b.ReportMetric(worst, "worst-us")
	b.ReportMetric(measure.Median(proxy), "proxy-us")
	b.ReportMetric(0, "ns/op") // a turn is no operation
}

// BenchmarkIdleStreams opens 4,000 streams through the ingress that have sent
// their first event and are silent, and reports
//
//	stream-KiB   by how much more the memory in use in this process, stacks included, has grown for each than without
//	             the ingress in between: what the ingress needs
//
// There are not more because each is four open files here, and many machines
// allow a process 20,000.
func BenchmarkIdleStreams(b *testing.B) {
	const streams = 4000
	var open sync.WaitGroup
	w := newBench(b, streams, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(rw, "data: 1\n\n")
		http.NewResponseController(rw).Flush()
		<-r.Context().Done()
		open.Done()
	})
	hold := func(base string) float64 {
		before := inUse()
		bodies := make([]io.Closer, streams)
		open.Add(streams)
		for i := range bodies {
			res, err := w.open(base)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(res.Body, make([]byte, 9)); err != nil || res.StatusCode != http.StatusOK {
				b.Fatalf("status %d, %v", res.StatusCode, err)
			}
			bodies[i] = res.Body
		}
		grown := inUse() - before
		for _, body := range bodies {
			_ = body.Close() // the stream ends with it
		}
		open.Wait()
		return float64(grown) / streams / 1024
	}
	for b.Loop() {
		without := hold(w.agent.URL)
		b.ReportMetric(hold(w.ingress.URL)-without, "stream-KiB")
	}
	b.ReportMetric(0, "ns/op") // a turn is no operation
}

// inUse returns the bytes of heap and stacks that are in use.
func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
