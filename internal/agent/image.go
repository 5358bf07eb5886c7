package agent

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// Image says of what image an agent's container is, and how it is asked for its
// health there. Agents that are processes need none of it.
type Image struct {
	Ref      string `json:"ref,omitempty"`      // of an image that is there: registry/repository@sha256:…; "" for one that is built
	Base     string `json:"base,omitempty"`     // on which one is built
	Platform string `json:"platform,omitempty"` // for which one is built: linux/amd64
	Health   string `json:"health,omitempty"`   // path that answers 2xx when the agent is healthy; "" for /ping, "none" for an agent that has none
}

// NoHealth is the [Image.Health] of an agent that is healthy while it listens.
const NoHealth = "none"

var (
	imageRef   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,511}$`)
	healthPath = regexp.MustCompile(`^/[A-Za-z0-9._~/-]{0,199}$`)
)

// CheckImage returns a fault of kind Invalid unless ref can name a container's image.
func CheckImage(ref string) error {
	if imageRef.MatchString(ref) {
		return nil
	}
	return fault.New(fault.Invalid, "image_invalid", "%q does not name an image", name.Clip(ref, 200)).
		WithFix("write registry/repository:tag, or better registry/repository@sha256:…")
}

// Platforms are those that images are built for.
func Platforms() []string { return []string{"linux/amd64", "linux/arm64"} }

// image reads what the definition says of the image. base_image is a text or, as
// in the original for Go, {builder: …, runtime: …}, of which the latter is ours:
// programs are built without a builder's image.
func (p *parser) image(docker, launch map[string]entry) (Image, error) {
	var i Image
	base := docker["base_image"].orNull()
	if base.value.Kind == yaml.MappingNode {
		fields, err := p.section(base, section{"builder": "programs are built by the go command, without an image", "runtime": ""})
		if err != nil {
			return i, err
		}
		base = fields["runtime"].orNull()
	}
	for _, from := range []struct {
		e    entry
		into *string
	}{{base, &i.Base}, {docker["platform"].orNull(), &i.Platform}, {launch["image"].orNull(), &i.Ref}, {launch["runtime_health_path"].orNull(), &i.Health}} {
		if err := scalar(map[string]entry{"": from.e}, "", from.into); err != nil {
			return i, err
		}
	}
	for _, ref := range []struct {
		e     entry
		value string
	}{{base, i.Base}, {launch["image"], i.Ref}} {
		if ref.value != "" && CheckImage(ref.value) != nil {
			return i, ref.e.fault("image_invalid", "%s %q does not name an image", ref.e.path, name.Clip(ref.value, 200))
		}
	}
	if i.Platform != "" && !slices.Contains(Platforms(), i.Platform) {
		return i, docker["platform"].fault("agentkit_invalid", "platform %q is not known", name.Clip(i.Platform, 80)).WithFix("use one of %s", strings.Join(Platforms(), ", "))
	}
	if i.Health != "" && i.Health != NoHealth && !healthPath.MatchString(i.Health) {
		return i, launch["runtime_health_path"].fault("agentkit_invalid", "health path %q is not a path", name.Clip(i.Health, 80)).
			WithFix("write a path such as /health, or none")
	}
	return i, nil
}
