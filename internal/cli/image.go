package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v3"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/image"
)

// imageFlags are for agents that run as containers.
type imageFlags struct {
	Registry string `help:"On Kubernetes: where the agent's image is pushed, which is built here, without Docker." env:"DEPUTY_REGISTRY" placeholder:"HOST/PATH"`
	DryRun   bool   `help:"On Kubernetes: print all that would be applied; nothing is pushed, and nothing changes."`
	Output   string `help:"How that is printed: ${enum}." short:"o" enum:"yaml,json" default:"yaml"`
}

// image builds the agent's image and pushes it, unless this is to be dry. It returns
// how the image is called; "" if the definition says it, or nothing is to be built.
func (f imageFlags) image(ctx context.Context, told phases, directory string, d definition) (ref string, err error) {
	if f.Registry == "" || d.Image.Ref != "" {
		return "", nil
	}
	told.say("building the image of %s", d.Name)
	b := image.Builder{Output: told.err, Authorities: os.Getenv("SSL_CERT_FILE")}
	built, err := b.Build(ctx, directory, d.Definition)
	if err != nil {
		return "", err
	}
	defer func() { _ = built.Close() }() // temporary files, which have been read
	if ref, err = built.Reference(f.Registry, d.Name); err != nil || f.DryRun {
		return ref, err
	}
	told.say("pushing %s", ref)
	return ref, b.Push(ctx, built, ref)
}

// showObjects prints what a launch would apply, ready for kubectl apply.
func (l launchCommand) showObjects(ctx context.Context, api *apiclient.Client, o output, agent apiclient.NewAgent) error {
	objects, warnings, err := api.AgentObjects(ctx, l.Pool, agent)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		if !o.json {
			_, _ = fmt.Fprintf(o.err, "warning: %s: %s\n", w.Field, w.Reason) // there is nowhere else to say it
		}
	}
	if o.json || l.Output == "json" {
		return json.NewEncoder(o.out).Encode(struct {
			APIVersion string            `json:"apiVersion"`
			Kind       string            `json:"kind"`
			Items      []json.RawMessage `json:"items"`
		}{"v1", "List", objects})
	}
	return writeYAML(o.out, objects)
}

// writeYAML writes JSON documents as YAML, in the order of their fields.
func writeYAML(w io.Writer, documents []json.RawMessage) error {
	var text bytes.Buffer
	e := yaml.NewEncoder(&text)
	e.SetIndent(2)
	for _, d := range documents {
		var n yaml.Node
		if err := yaml.Unmarshal(d, &n); err != nil { // JSON is YAML
			return err
		}
		unquote(&n)
		if err := e.Encode(&n); err != nil {
			return err
		}
	}
	if err := e.Close(); err != nil {
		return err
	}
	_, err := w.Write(text.Bytes())
	return err
}

// unquote makes the encoder choose how a value is written: as people write YAML,
// with quotes where a text would be taken for something else.
func unquote(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		unquote(c)
	}
}
