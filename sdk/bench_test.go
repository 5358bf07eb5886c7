package deputy_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/measure"
	deputy "github.com/deputy-id/deputy/sdk"
	"github.com/deputy-id/deputy/sdk/deputytest"
)

// BenchmarkCall measures a request to a third party with a credential that the
// process has in hand, one after the other, in turns in one run: by a bare
// [http.Client] that is given the token, by the client of a [deputy.Caller], and as
// a tool of a turn, which checks the arguments and tells the user's stream of the
// call and of its end. The third party is in the same process. It reports
//
//	client-x  processor time with the SDK's client over that with the bare one (median of the turns)
//	tool-x    the same for the tool
//	client-us what the SDK's client adds to one request, in processor time
//	tool-us   what the tool adds
//
// Run it with -benchtime 20x.
func BenchmarkCall(b *testing.B) {
	third := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = io.WriteString(w, `{"answer":42}`)
	}))
	b.Cleanup(third.Close)
	d := deputytest.Start(b)
	token, cred := d.Grant(alice, "mail"), deputy.OAuth2("mail").At(third.URL)
	transport := &http.Transport{MaxIdleConnsPerHost: 1}
	get := func(ctx context.Context, client *http.Client, token string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, third.URL, nil)
		if err != nil {
			return err
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	bare := &http.Client{Transport: transport}
	// A clock that stands: the credential is not asked for again while we measure.
	client := d.Client()
	began := time.Now()
	client.Now = func() time.Time { return began }
	bound, err := (&deputy.Caller{Deputy: client, Token: d.Mint(alice), Transport: transport}).HTTP(cred)
	if err != nil {
		b.Fatal(err)
	}
	turn := openTurn(b, d, &deputy.Agent{Name: "bench", Deputy: d.Client(), Transport: transport, Tools: []deputy.Tool{
		deputy.NewTool("get", "", func(ctx context.Context, call *deputy.Call, _ struct {
			Room string `json:"room"`
		}) (int, error) {
			return 42, get(ctx, call.HTTP, "")
		}, cred)}})
	cost := func(request func(int) error) float64 {
		const n = 2000
		l, err := measure.Run(1, n, request)
		if err != nil {
			b.Fatal(err)
		}
		return l.CPU.Seconds() * 1e6
	}
	ways := []func(int) error{
		func(int) error { return get(b.Context(), bare, token) },
		func(int) error { return get(b.Context(), bound, "") },
		func(int) error { return turn.Call(b.Context(), "get", map[string]string{"room": "Bonn"}, nil) },
	}
	for _, way := range ways {
		cost(way) // warm up
	}
	var clientX, toolX, clientAdds, toolAdds []float64
	for b.Loop() {
		bareCost, clientCost, toolCost := cost(ways[0]), cost(ways[1]), cost(ways[2])
		clientX, toolX = append(clientX, clientCost/bareCost), append(toolX, toolCost/bareCost)
		clientAdds, toolAdds = append(clientAdds, clientCost-bareCost), append(toolAdds, toolCost-bareCost)
	}
	b.ReportMetric(measure.Median(clientX), "client-x")
	b.ReportMetric(measure.Median(toolX), "tool-x")
	b.ReportMetric(measure.Median(clientAdds), "client-us")
	b.ReportMetric(measure.Median(toolAdds), "tool-us")
	b.ReportMetric(0, "ns/op") // a turn is no operation
}

// openTurn returns a turn of alice's that goes on until the benchmark is over. Its
// answer is streamed to a client that reads it.
func openTurn(b *testing.B, d *deputytest.Server, a *deputy.Agent) *deputy.Turn {
	b.Helper()
	turns, over := make(chan *deputy.Turn), make(chan struct{})
	a.Respond = func(_ context.Context, t *deputy.Turn) error {
		turns <- t
		<-over
		return nil
	}
	base, read := startAgent(b, a), make(chan struct{})
	go func() {
		defer close(read)
		prompt(b, base, d.Mint(alice), "begin")
	}()
	b.Cleanup(func() { close(over); <-read })
	select {
	case t := <-turns:
		return t
	case <-read:
		b.Fatal("the agent did not let the prompt in")
		return nil
	}
}
