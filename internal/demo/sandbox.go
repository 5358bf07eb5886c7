package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/deputy-id/deputy/internal/visitor"
	"github.com/deputy-id/deputy/internal/wire"
)

// sandboxControl turns the knobs of the Feishu sandbox.
type sandboxControl struct {
	url  string
	http *http.Client
}

func newSandboxControl(url string) *sandboxControl {
	return &sandboxControl{url, &http.Client{Transport: &http.Transport{IdleConnTimeout: time.Minute}, Timeout: visitor.Timeout}}
}

// issued is a secret value that the sandbox has handed out.
type issued struct {
	Kind  string `json:"kind"`
	Value string `json:"value"`
}

const maxIssued = 64 << 20 // bytes; each token has more than a kilobyte

func (s *sandboxControl) issued(ctx context.Context) ([]issued, error) {
	var all []issued
	return all, s.read(ctx, "issued", &all)
}

// calls returns how often each operation was requested of the sandbox.
func (s *sandboxControl) calls(ctx context.Context) (map[string]int64, error) {
	var all map[string]int64
	return all, s.read(ctx, "calls", &all)
}

func (s *sandboxControl) read(ctx context.Context, what string, into any) error {
	b, err := s.do(ctx, http.MethodGet, what, nil)
	if err != nil {
		return err
	}
	return wire.DecodeForeign(b, into)
}

// turn turns a knob.
func (s *sandboxControl) turn(ctx context.Context, knob string, command any) error {
	b, err := json.Marshal(command)
	if err != nil {
		return err
	}
	_, err = s.do(ctx, http.MethodPost, knob, b)
	return err
}

func (s *sandboxControl) do(ctx context.Context, method, what string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url+"/sandbox/"+what, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() // read to its bound
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("the sandbox answered /sandbox/%s with status %d", what, resp.StatusCode)
	}
	return wire.ReadAll(resp.Body, maxIssued)
}
