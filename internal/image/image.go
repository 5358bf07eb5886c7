// Package image builds an agent's container image from its folder, without a container engine, and pushes it to a registry.
//
// The same folder gives the same digest: files are in order and without times or
// owners, and the Go toolchain is told to leave out what differs between machines.
// docs/kubernetes.md says what counts as input besides the folder.
package image

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	reference "github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// Where things are in an image.
const (
	programPath = "agent" // what was compiled
	filesDir    = "app"   // the agent's own files
	packagesDir = "packages"
	home        = "/home/agent" // a directory that Kubernetes makes, writable
	nobody      = "65532:65532" // "nonroot" of the distroless images
)

const defaultPython = "3.13"

// Builder builds and pushes images.
type Builder struct {
	Output io.Writer // of compilers and pip, for people
	// Keychain knows the passwords of registries; nil for those of docker login.
	Keychain authn.Keychain
	// Transport is the way to registries; nil for the usual one.
	Transport http.RoundTripper
	// Authorities is a file of certificate authorities in PEM for images without a
	// base; "" for this machine's.
	Authorities string
}

// Image is what was built. It must be closed.
type Image struct {
	v1.Image
	files string
}

// Close deletes the files that the image is made of.
func (i Image) Close() error { return os.RemoveAll(i.files) }

// Build makes the image of the agent in a directory. Faults of kind Invalid say what
// is wrong with the agent; of kind Upstream and Unavailable, with the base image.
func (b Builder) Build(ctx context.Context, directory string, d agent.Definition) (Image, error) {
	work, err := os.MkdirTemp("", "deputy-image-*")
	if err != nil {
		return Image{}, err
	}
	made, err := b.build(ctx, directory, work, d)
	if err != nil {
		return Image{}, errors.Join(err, os.RemoveAll(work))
	}
	return Image{made, work}, nil
}

// recipe is what an image is made of.
type recipe struct {
	base       string   // "" for nothing
	layers     []string // tar files
	entrypoint []string
	env        []string
}

func (b Builder) build(ctx context.Context, directory, work string, d agent.Definition) (v1.Image, error) {
	platform := v1.Platform{OS: "linux", Architecture: "amd64"}
	if _, architecture, ok := strings.Cut(d.Image.Platform, "/"); ok {
		platform.Architecture = architecture
	}
	var r recipe
	var err error
	switch d.Kind() {
	case agent.BuiltGo, agent.BuiltScript:
		r, err = b.program(ctx, directory, work, d, platform.Architecture)
	default:
		r, err = b.files(ctx, directory, work, d, platform.Architecture)
	}
	if err != nil {
		return nil, err
	}
	made, err := b.base(ctx, r.base, platform)
	if err != nil {
		return nil, err
	}
	var layers []mutate.Addendum
	for _, file := range r.layers {
		layer, err := tarball.LayerFromFile(file, tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return nil, err
		}
		layers = append(layers, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: "deputy"}})
	}
	if made, err = mutate.Append(made, layers...); err != nil {
		return nil, err
	}
	config, err := made.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = platform.OS, platform.Architecture, v1.Time{Time: time.Unix(0, 0).UTC()}
	config.Config.Entrypoint, config.Config.Cmd, config.Config.User, config.Config.WorkingDir = r.entrypoint, nil, nobody, home
	config.Config.Env = append(config.Config.Env, r.env...)
	return mutate.ConfigFile(made, config)
}

// base returns the image that others are put upon.
func (b Builder) base(ctx context.Context, ref string, platform v1.Platform) (v1.Image, error) {
	if ref == "" {
		return mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), nil
	}
	at, err := reference.ParseReference(ref)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "image_invalid", "%q does not name an image", name.Clip(ref, 200)).WithSource("agentkit.yaml: docker_build.base_image")
	}
	found, err := remote.Image(at, append(b.options(ctx), remote.WithPlatform(platform))...)
	if err != nil {
		return nil, fault.Wrap(err, fault.Upstream, "image_base", "the base image %s cannot be read for %s", at, platform.String()).
			WithFix("see that it is there and that you are logged in; docker_build.base_image names another one").WithSource("agentkit.yaml: docker_build.base_image")
	}
	return found, nil
}

func (b Builder) options(ctx context.Context) []remote.Option {
	keychain, transport := b.Keychain, b.Transport
	if keychain == nil {
		keychain = authn.DefaultKeychain
	}
	if transport == nil {
		transport = remote.DefaultTransport
	}
	return []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(keychain), remote.WithTransport(transport), remote.WithUserAgent("deputy"), remote.WithJobs(2)}
}

var notInRepositories = regexp.MustCompile(`[^a-z0-9]+`)

// Reference returns how the image is called in a registry: below the given path, by
// the agent's name and the digest of its content.
func (i Image) Reference(registry, agentName string) (string, error) {
	digest, err := i.Digest()
	if err != nil {
		return "", err
	}
	if strings.Contains(registry, "://") {
		return "", badRegistry(nil, registry)
	}
	repository := path.Join(registry, strings.Trim(notInRepositories.ReplaceAllString(strings.ToLower(agentName), "-"), "-"))
	at, err := reference.NewDigest(repository + "@" + digest.String())
	if err != nil {
		return "", badRegistry(err, registry)
	}
	return at.Name(), nil
}

func badRegistry(err error, registry string) error {
	return fault.Wrap(err, fault.Invalid, "image_registry", "%q does not name a registry", name.Clip(registry, 200)).WithSource("--registry").
		WithFix("write host/path, such as registry.example.com/agents")
}

// Push sends the image to where ref, of [Image.Reference], says. What the registry
// has already is not sent again.
func (b Builder) Push(ctx context.Context, i Image, ref string) error {
	at, err := reference.NewDigest(ref)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "image_registry", "%q does not name an image by its digest", name.Clip(ref, 300))
	}
	if err := remote.Write(at, i, b.options(ctx)...); err != nil {
		return fault.Wrap(err, fault.Upstream, "image_push", "the registry %s does not take the image", at.RegistryStr()).
			WithFix("see that it is reachable, and log in there: docker login or crane auth login write what is needed")
	}
	return nil
}

// authorities returns a file of certificate authorities: a program that has no base
// image would trust nobody.
func (b Builder) authorities() (string, error) {
	for _, file := range []string{
		b.Authorities, "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
	} {
		if info, err := os.Stat(file); file != "" && err == nil && info.Mode().IsRegular() {
			return file, nil
		}
	}
	return "", fault.New(fault.Invalid, "image_authorities", "this machine has no file of certificate authorities to put into the image").
		WithFix("name one in SSL_CERT_FILE, or set docker_build.base_image to an image that has them")
}

// add makes a layer, in a file of the work directory.
func (r *recipe) add(work, called string, fill func(*layer) error) error {
	file := filepath.Join(work, called+".tar")
	l, err := newLayer(file)
	if err != nil {
		return err
	}
	if err := errors.Join(fill(l), l.close()); err != nil {
		return err
	}
	r.layers = append(r.layers, file)
	return nil
}
