package main

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/deputy-id/deputy/internal/kube/kubetest"
)

// cluster starts an API server on which all pods are ready at once.
func cluster(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		want(ts, len(args) == 1, neg, "cluster KUBECONFIG")
		server := kubetest.New(t)
		server.RunPods()
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), server.Kubeconfig(), 0o600))
	}
}

// imageRegistry starts a registry.
func imageRegistry(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, len(args) == 1, neg, "registry NAME")
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	ts.Defer(server.Close)
	ts.Setenv(args[0], strings.TrimPrefix(server.URL, "http://"))
}
