package kube

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/wire"
)

// Config says where an API server is and who asks.
type Config struct {
	Server     string         // https://host:port
	ServerName string         // that its certificate must have; "" for the host of Server
	Roots      *x509.CertPool // who may sign its certificate; nil: the system's
	// TokenFile holds the bearer token. It is read for each request, because
	// kubelets replace it. "" for Token.
	TokenFile   string
	Token       secret.Text      // a bearer token that does not change; empty for none
	Certificate *tls.Certificate // of the client; nil for none
	Namespace   string           // where who asks is at home: the pod's, or that of the kubeconfig's context; may be ""
}

// mounted is where every pod finds what it needs to ask the API server.
const mounted = "/var/run/secrets/kubernetes.io/serviceaccount"

const (
	maxKubeconfig = 1 << 20 // bytes; certificates are in it
	maxTokenFile  = 64 << 10
)

// InCluster returns the configuration of the pod that this program runs in, or a
// fault of kind Invalid (kubernetes_no_cluster) if it runs in none.
func InCluster() (Config, error) {
	return inCluster(mounted, os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
}

func inCluster(dir, host, port string) (Config, error) {
	no := func(err error) error {
		return fault.Wrap(err, fault.Invalid, "kubernetes_no_cluster", "Deputy does not run in a cluster, or its pod has no service account's token").
			WithSource("--driver kubernetes").WithFix("give --kubeconfig, or run it in a pod with automountServiceAccountToken")
	}
	if host == "" || port == "" {
		return Config{}, no(nil)
	}
	authority, err := readFile(filepath.Join(dir, "ca.crt"), maxKubeconfig)
	if err != nil {
		return Config{}, no(err)
	}
	token := filepath.Join(dir, "token")
	if _, err := os.Stat(token); err != nil {
		return Config{}, no(err)
	}
	c := Config{Server: "https://" + net.JoinHostPort(host, port), TokenFile: token}
	if c.Roots, err = pool(authority); err != nil {
		return Config{}, no(err)
	}
	if namespace, err := readFile(filepath.Join(dir, "namespace"), 256); err == nil {
		c.Namespace = strings.TrimSpace(string(namespace))
	}
	return c, nil
}

// kubeconfig is the part of a kubeconfig that is understood. What changes how one
// connects and is not understood is in it too, to be refused.
type kubeconfig struct {
	Current  string `yaml:"current-context"`
	Contexts []struct {
		Name    string `yaml:"name"`
		Context struct {
			Cluster   string `yaml:"cluster"`
			User      string `yaml:"user"`
			Namespace string `yaml:"namespace"`
		} `yaml:"context"`
	} `yaml:"contexts"`
	Clusters []struct {
		Name    string  `yaml:"name"`
		Cluster cluster `yaml:"cluster"`
	} `yaml:"clusters"`
	Users []struct {
		Name string `yaml:"name"`
		User user   `yaml:"user"`
	} `yaml:"users"`
}

type cluster struct {
	Server        string `yaml:"server"`
	ServerName    string `yaml:"tls-server-name"`
	Authority     string `yaml:"certificate-authority"`
	AuthorityData string `yaml:"certificate-authority-data"`
	Insecure      bool   `yaml:"insecure-skip-tls-verify"`
	Proxy         string `yaml:"proxy-url"`
}

type user struct {
	Token           string    `yaml:"token"`
	TokenFile       string    `yaml:"tokenFile"`
	Certificate     string    `yaml:"client-certificate"`
	CertificateData string    `yaml:"client-certificate-data"`
	Key             string    `yaml:"client-key"`
	KeyData         string    `yaml:"client-key-data"`
	Exec            yaml.Node `yaml:"exec"`
	Provider        yaml.Node `yaml:"auth-provider"`
	Username        string    `yaml:"username"`
	Impersonate     string    `yaml:"as"`
}

// ReadKubeconfig returns the configuration of a context of a kubeconfig, of the
// current one for "". What a kubeconfig can say and this does not do (plugins
// that fetch credentials, passwords, connections that nobody verifies) is a fault of
// kind Invalid rather than something else than what was meant.
func ReadKubeconfig(file, context string) (Config, error) {
	text, err := readFile(file, maxKubeconfig)
	if err != nil {
		return Config{}, fault.Wrap(err, fault.Invalid, "kubeconfig_unreadable", "the kubeconfig %s cannot be read", file).WithSource("--kubeconfig")
	}
	return parseKubeconfig(text, filepath.Dir(file), context)
}

func unusable(err error, format string, args ...any) *fault.Error {
	return fault.Wrap(err, fault.Invalid, "kubeconfig_unusable", format, args...).WithSource("--kubeconfig")
}

// parseKubeconfig reads a kubeconfig whose relative paths begin at dir.
func parseKubeconfig(text []byte, dir, context string) (Config, error) {
	var k kubeconfig
	if err := yaml.Unmarshal(text, &k); err != nil {
		return Config{}, unusable(err, "the kubeconfig is not well-formed") // the parser quotes it, and it holds keys: the cause is for logs
	}
	if context == "" {
		context = k.Current
	}
	for _, c := range k.Contexts {
		if c.Name != context {
			continue
		}
		config := Config{Namespace: c.Context.Namespace}
		if err := k.cluster(c.Context.Cluster, dir, &config); err != nil {
			return Config{}, err
		}
		return config, k.user(c.Context.User, dir, &config)
	}
	return Config{}, unusable(nil, "the kubeconfig has no context %q", name.Clip(context, 80)).WithFix("name one with --kube-context: kubectl config get-contexts")
}

func (k kubeconfig) cluster(called, dir string, into *Config) error {
	for _, c := range k.Clusters {
		if c.Name != called {
			continue
		}
		u, err := url.Parse(c.Cluster.Server)
		switch {
		case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "":
			return unusable(nil, "the server of cluster %q is not https://host:port", name.Clip(called, 80))
		case c.Cluster.Insecure:
			return unusable(nil, "cluster %q is not to be verified (insecure-skip-tls-verify)", name.Clip(called, 80)).WithFix("give its certificate-authority")
		case c.Cluster.Proxy != "":
			return unusable(nil, "cluster %q is behind a proxy (proxy-url), which is not supported", name.Clip(called, 80))
		}
		into.Server, into.ServerName = "https://"+u.Host, c.Cluster.ServerName
		authority, err := given(c.Cluster.AuthorityData, c.Cluster.Authority, dir)
		if err != nil {
			return unusable(err, "the certificate authority of cluster %q cannot be read", name.Clip(called, 80))
		}
		if authority == nil {
			return nil
		}
		if into.Roots, err = pool(authority); err != nil {
			return unusable(err, "the certificate authority of cluster %q is none", name.Clip(called, 80))
		}
		return nil
	}
	return unusable(nil, "the kubeconfig has no cluster %q", name.Clip(called, 80))
}

func (k kubeconfig) user(called, dir string, into *Config) error {
	for _, u := range k.Users {
		if u.Name != called {
			continue
		}
		if !u.User.Exec.IsZero() || !u.User.Provider.IsZero() || u.User.Username != "" || u.User.Impersonate != "" {
			return unusable(nil, "user %q logs in by a plugin, a password or as somebody else, which is not supported", name.Clip(called, 80)).
				WithFix("make a kubeconfig for a service account: kubectl create token; docs/kubernetes.md says how")
		}
		certificate, err := given(u.User.CertificateData, u.User.Certificate, dir)
		if err != nil {
			return unusable(err, "the certificate of user %q cannot be read", name.Clip(called, 80))
		}
		key, err := given(u.User.KeyData, u.User.Key, dir)
		if err != nil {
			return unusable(err, "the key of user %q cannot be read", name.Clip(called, 80))
		}
		defer clear(key)
		if certificate != nil || key != nil {
			pair, err := tls.X509KeyPair(certificate, key)
			if err != nil {
				return unusable(err, "certificate and key of user %q do not fit together", name.Clip(called, 80))
			}
			into.Certificate = &pair
		}
		if u.User.TokenFile != "" {
			into.TokenFile = absolute(u.User.TokenFile, dir)
		} else if u.User.Token != "" {
			into.Token = secret.FromString(u.User.Token)
		}
		return nil
	}
	return unusable(nil, "the kubeconfig has no user %q", name.Clip(called, 80))
}

// given returns what is written in base64, or else what is in the file; nil for
// neither.
func given(data, file, dir string) ([]byte, error) {
	switch {
	case data != "":
		return base64.StdEncoding.DecodeString(data)
	case file != "":
		return readFile(absolute(file, dir), maxKubeconfig)
	}
	return nil, nil
}

func absolute(path, dir string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

var errNoCertificate = errors.New("no certificate in PEM")

func pool(pem []byte) (*x509.CertPool, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errNoCertificate
	}
	return roots, nil
}

// readFile reads a regular file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fs.ErrInvalid}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return wire.ReadAll(f, limit)
}
