package feishu_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/sandbox/feishu"
)

func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready := make(chan net.Addr, 1)
	done := make(chan error, 1)
	go func() {
		done <- feishu.Run(ctx, feishu.RunConfig{
			Listen: "127.0.0.1:0", Ready: func(a net.Addr) { ready <- a },
			Apps: []feishu.App{{ID: appID, Secret: appSecret, RedirectURIs: []string{redirectURI}}},
		})
	}()
	var addr net.Addr
	select {
	case addr = <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/healthz": "ok\n", "/": "飞书沙箱", "/accounts/style.css": ".card", link(""): "zhangsan / sandbox"} {
		resp, err := http.Get("http://" + addr.String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || !strings.Contains(string(body), want) {
			t.Errorf("%s: %v, status %d", path, err, resp.StatusCode)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestRunRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	tests := []struct {
		name   string
		config feishu.RunConfig
		want   string
	}{
		{"every interface", feishu.RunConfig{Listen: ":0"}, "stays on loopback"},
		{"other interface", feishu.RunConfig{Listen: "192.0.2.1:0"}, "stays on loopback"},
		{"port taken", feishu.RunConfig{Listen: taken.Addr().String()}, "address already in use"},
		{"bad app", feishu.RunConfig{Listen: "127.0.0.1:0", Apps: []feishu.App{{ID: "cli"}}}, "has no secret"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := feishu.Run(t.Context(), test.config); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}
