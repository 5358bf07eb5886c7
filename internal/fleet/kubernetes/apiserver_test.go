//go:build apiserver

package kubernetes_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/freeport"
	"github.com/deputy-id/deputy/internal/kube"
	"github.com/deputy-id/deputy/internal/secret"
)

// TestAPIServer runs the suite on a real kube-apiserver with etcd, which it starts.
// There are no nodes and no controllers: the test says what they would. It is not
// built without its tag, because a kube-apiserver takes long to make:
//
//	go build -C internal/fleet/kubernetes/testdata/apiserver -o kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
//	go test -tags apiserver -run APIServer ./internal/fleet/kubernetes
//
// $KUBE_APISERVER names another one. etcd is that of PATH.
func TestAPIServer(t *testing.T) {
	s := startAPIServer(t)
	for name, test := range scenarios() {
		t.Run(name, func(t *testing.T) { test(t, s.cluster(t, "admin")) })
	}
	t.Run("fast", func(t *testing.T) {
		d := s.cluster(t, "admin").driver()
		var launches [20]time.Duration
		for n := range launches {
			begin := time.Now()
			r := run(1)
			r.Agent.Name = fmt.Sprintf("fast-%d", n)
			i, err := d.Start(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			launches[n] = time.Since(begin)
			i.Stop(t.Context())
			if err := d.Remove(t.Context(), r.Agent.Workload()); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("from launch to four objects in etcd: %v", launches)
	})
	t.Run("attestors", func(t *testing.T) { attestors(t, s) })
	t.Run("installation", func(t *testing.T) { install(t, s) })
	t.Run("least privilege", func(t *testing.T) { leastPrivilege(t, s) })
}

// install applies all of deploy/kubernetes, strictly; there is nobody to run it.
func install(t *testing.T, s *apiServer) {
	for _, file := range []string{"namespaces.yaml", "rbac.yaml", "postgres.yaml", "deputy.yaml"} {
		for _, d := range documents(t, file) {
			plural := strings.ToLower(d.Kind) + "s"
			if d.Kind == "NetworkPolicy" {
				plural = "networkpolicies"
			}
			path := "/apis/" + d.APIVersion
			if d.APIVersion == "v1" {
				path = "/api/v1"
			}
			if d.Metadata.Namespace != "" {
				path += "/namespaces/" + d.Metadata.Namespace
			}
			path += "/" + plural + "/" + d.Metadata.Name + "?fieldManager=test&fieldValidation=Strict"
			if err := s.do(t.Context(), http.MethodPatch, path, "application/apply-patch+yaml", string(d.json)); err != nil {
				t.Error(err)
			}
		}
	}
}

// leastPrivilege runs the driver with the very role that the installation, which is
// there, gives it.
func leastPrivilege(t *testing.T, s *apiServer) {
	c := s.cluster(t, "driver")
	for _, test := range scenarios() {
		test(t, c)
	}
	// The pods that the Deployment asks for are admitted by the namespace's security standard.
	d := c.driver()
	_, err := d.Start(t.Context(), run(1))
	c.must(err)
	c.must(c.do(http.MethodPost, "/api/v1/namespaces/"+namespace+"/pods", "application/json",
		fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"as-asked","namespace":%q},"spec":%s}`, namespace, c.mustRead("deployments").Spec.Template.Spec)))
	c.must(d.Remove(t.Context(), doc))
	for _, forbidden := range []string{"/api/v1/namespaces/" + namespace + "/secrets", "/api/v1/namespaces/kube-system/pods", "/api/v1/nodes"} {
		if err := s.as(t.Context(), "driver", http.MethodGet, forbidden, "", ""); err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("the driver may read %s: %v", forbidden, err)
		}
	}
}

// apiServer is a kube-apiserver and its etcd.
type apiServer struct {
	url   string
	roots *x509.CertPool
}

// cluster is the server as somebody sees it.
func (s *apiServer) cluster(t *testing.T, as string) cluster {
	client := kube.New(kube.Config{Server: s.url, Roots: s.roots, Token: secret.FromString(as)})
	t.Cleanup(client.Close)
	return cluster{t, client, func(method, path, contentType, body string) error {
		return s.do(t.Context(), method, path, contentType, body)
	}, func(account, pod, audience string) string { return s.token(t, namespace, account, pod, audience) }}
}

func (s *apiServer) do(ctx context.Context, method, path, contentType, body string) error {
	return s.as(ctx, "admin", method, path, contentType, body)
}

func (s *apiServer) as(ctx context.Context, token, method, path, contentType, body string) error {
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots}, DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: status %d: %s", method, path, resp.StatusCode, text)
	}
	return err
}

func startAPIServer(t *testing.T) *apiServer {
	t.Helper()
	program := os.Getenv("KUBE_APISERVER")
	if program == "" {
		program = "testdata/apiserver/kube-apiserver"
	}
	dir := t.TempDir()
	ports, err := freeport.Find(3)
	if err != nil {
		t.Fatal(err)
	}
	etcd := "http://127.0.0.1:" + ports[0]
	start(t, filepath.Join(dir, "etcd.log"), "etcd", "--data-dir", filepath.Join(dir, "etcd"), "--listen-client-urls", etcd, "--advertise-client-urls", etcd,
		"--listen-peer-urls", "http://127.0.0.1:"+ports[1], "--unsafe-no-fsync")
	s := &apiServer{url: "https://127.0.0.1:" + ports[2]}
	s.roots = credentials(t, dir)
	start(t, filepath.Join(dir, "apiserver.log"), program, "--etcd-servers", etcd, "--secure-port", ports[2], "--bind-address", "127.0.0.1",
		"--tls-cert-file", filepath.Join(dir, "tls.crt"), "--tls-private-key-file", filepath.Join(dir, "tls.key"), "--token-auth-file", filepath.Join(dir, "tokens"),
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", filepath.Join(dir, "tls.key"),
		"--service-account-signing-key-file", filepath.Join(dir, "tls.key"), "--authorization-mode", "RBAC", "--service-cluster-ip-range", "10.0.0.0/24",
		"--disable-admission-plugins", "ServiceAccount")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		// The service's addresses and the administrator's role are there a little after readiness.
		err := s.do(ctx, http.MethodGet, "/readyz", "", "")
		if err == nil {
			err = s.do(ctx, http.MethodPost, "/api/v1/namespaces", "application/json", `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"`+namespace+`"}}`)
		}
		if err == nil || strings.Contains(err.Error(), "already exists") {
			return s
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(dir, "apiserver.log"))
			t.Fatalf("the API server is not ready: %v\n%s", err, log[max(0, len(log)-4<<10):])
		}
	}
}

// start runs a program until the test ends.
func start(t *testing.T, log, program string, args ...string) {
	t.Helper()
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(cmd.Process.Kill(), out.Close()); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // it was killed
	})
}

// credentials writes a certificate for 127.0.0.1 and two tokens, and returns who
// signed the certificate: itself.
func credentials(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kube-apiserver"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	roots.AppendCertsFromPEM(text)
	for file, content := range map[string][]byte{
		"tls.crt": text, "tls.key": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}),
		"tokens": []byte("admin,admin,1,system:masters\ndriver,system:serviceaccount:deputy:deputy,2\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return roots
}
