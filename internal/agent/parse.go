package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// MaxDefinition is how many bytes an agentkit.yaml may have.
const MaxDefinition = 256 << 10

const (
	maxVariables     = 256
	maxVariableBytes = 32 << 10
)

// Parse reads an agentkit.yaml. It returns what Deputy uses of it and a warning
// for every field that is set and has no effect, in order of line. Unknown
// fields, values of the wrong type and missing fields are faults of kind Invalid
// whose Source names field and line.
func Parse(text []byte) (Definition, []Warning, error) {
	root, err := document(text)
	if err != nil {
		return Definition{}, nil, err
	}
	p := &parser{}
	d, err := p.definition(root)
	if err != nil {
		return Definition{}, nil, err
	}
	slices.SortStableFunc(p.warnings, func(a, b Warning) int { return a.Line - b.Line })
	return d, p.warnings, nil
}

func document(text []byte) (*yaml.Node, error) {
	if len(text) > MaxDefinition {
		return nil, fault.New(fault.TooLarge, "agentkit_too_large", "agentkit.yaml is larger than %d bytes", MaxDefinition)
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, fault.New(fault.Invalid, "agentkit_invalid", "agentkit.yaml is empty")
	} else if err != nil {
		return nil, malformed(err)
	}
	if err := dec.Decode(new(yaml.Node)); err == nil {
		return nil, fault.New(fault.Invalid, "agentkit_invalid", "agentkit.yaml holds more than one document").WithFix("remove everything from the second --- on")
	} else if !errors.Is(err, io.EOF) {
		return nil, malformed(err)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, fault.New(fault.Invalid, "agentkit_invalid", "agentkit.yaml is empty")
	}
	return doc.Content[0], nil
}

var yamlLine = regexp.MustCompile(`line \d+`)

// malformed keeps the line of a syntax error and drops the rest of the text,
// which may quote a value.
func malformed(err error) error {
	source := "agentkit.yaml"
	if line := yamlLine.FindString(err.Error()); line != "" {
		source += " " + line
	}
	return fault.Wrap(err, fault.Invalid, "agentkit_invalid", "agentkit.yaml is not well-formed YAML").WithSource(source)
}

// parser walks the YAML tree by hand, so that every complaint has a line and
// nothing of the tree is expanded: aliases are followed only as deep as the
// schema goes.
type parser struct{ warnings []Warning }

func (p *parser) warn(field string, line int, reason string) {
	p.warnings = append(p.warnings, Warning{field, line, reason})
}

// entry is a field that was found: its full path, its value and its line.
type entry struct {
	path  string
	value *yaml.Node
	line  int
}

func (e entry) fault(code, format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, code, format, args...).WithSource(fmt.Sprintf("agentkit.yaml line %d: %s", e.line, e.path))
}

// null reports whether the field is there in name only.
func (e entry) null() bool { return e.value.Kind == yaml.ScalarNode && e.value.ShortTag() == "!!null" }

// blank reports whether the field says nothing: agentkit writes every field it
// knows, most of them empty.
func (e entry) blank() bool {
	if e.value.Kind == yaml.ScalarNode {
		return e.null() || e.value.Value == ""
	}
	return len(e.value.Content) == 0
}

// mapping returns the fields of e, which must be a mapping (or null).
func (e entry) mapping() (map[string]entry, error) {
	if e.null() {
		return nil, nil
	}
	if e.value.Kind != yaml.MappingNode {
		return nil, e.fault("agentkit_invalid", "%s must be a mapping", e.label())
	}
	fields := make(map[string]entry, len(e.value.Content)/2)
	for i := 0; i+1 < len(e.value.Content); i += 2 {
		key, value := e.value.Content[i], follow(e.value.Content[i+1])
		at := entry{e.join(name.Clip(key.Value, 80)), value, key.Line}
		if key.Kind != yaml.ScalarNode {
			return nil, at.fault("agentkit_invalid", "a field's name must be a plain text")
		}
		if _, twice := fields[key.Value]; twice {
			return nil, at.fault("agentkit_invalid", "%s is there twice", at.path)
		}
		fields[key.Value] = at
	}
	return fields, nil
}

func (e entry) label() string {
	if e.path == "" {
		return "agentkit.yaml"
	}
	return e.path
}

func (e entry) join(field string) string {
	if e.path == "" {
		return field
	}
	return e.path + "." + field
}

func follow(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// section returns the fields of e after checking each against the table. It
// warns of those that are set without effect.
func (p *parser) section(e entry, known section) (map[string]entry, error) {
	fields, err := e.mapping()
	if err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		reason, ok := known[key]
		if !ok {
			return nil, fields[key].fault("agentkit_unknown_field", "there is no field %q", fields[key].path).
				WithFix("%s", name.DidYouMean(key, slices.Sorted(maps.Keys(known)), "remove it"))
		}
		if reason != "" && !fields[key].blank() {
			p.warn(fields[key].path, fields[key].line, reason)
		}
	}
	return fields, nil
}

func (p *parser) definition(root *yaml.Node) (Definition, error) {
	var d Definition
	top, err := p.section(entry{value: follow(root), line: root.Line}, section{"common": "", "launch_types": "", "docker_build": ""})
	if err != nil {
		return d, err
	}
	docker, err := p.section(top["docker_build"].orNull(), dockerFields())
	if err != nil {
		return d, err
	}
	if _, ok := top["common"]; !ok {
		return d, missing("common", "the section that names the agent")
	}
	common, err := p.section(top["common"], commonFields())
	if err != nil {
		return d, err
	}
	if err := p.common(common, &d); err != nil {
		return d, err
	}
	launch, err := p.launch(top, d.LaunchType)
	if err != nil {
		return d, err
	}
	if d.Image, err = p.image(docker, launch); err != nil {
		return d, err
	}
	if d.Inbound, err = p.inbound(launch, d.LaunchType); err != nil {
		return d, err
	}
	if d.Paths, err = paths(launch["runtime_paths"].orNull()); err != nil {
		return d, err
	}
	if d.IdleTimeout, err = idleTimeout(launch); err != nil {
		return d, err
	}
	d.Env = Environment{}
	for _, from := range []map[string]entry{common, launch} { // the later one wins
		if envs, ok := from["runtime_envs"]; ok {
			if err := p.environment(envs, d.Env); err != nil {
				return d, err
			}
		}
	}
	return d, nil
}

// The bounds of runtime_idle_timeout.
const (
	minIdle = 10 * time.Second
	maxIdle = 7 * 24 * time.Hour
)

// idleTimeout reads after how long without a call the agent is stopped.
func idleTimeout(f map[string]entry) (time.Duration, error) {
	const field = "runtime_idle_timeout"
	var text string
	if err := scalar(f, field, &text); err != nil || text == "" {
		return 0, err
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < minIdle || d > maxIdle {
		return 0, f[field].fault("agentkit_invalid", "%s is not a time from %v to %v", f[field].path, minIdle, maxIdle).WithFix("write it as 90s, 15m or 2h")
	}
	return d, nil
}

func missing(field, fix string) error {
	return fault.New(fault.Invalid, "agentkit_missing_field", "%s is missing", field).WithFix("add %s", fix).WithSource("agentkit.yaml: " + field)
}

var (
	agentName  = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	entryShape = regexp.MustCompile(`^[\w./-]+$`)
)

func (p *parser) common(f map[string]entry, d *Definition) error {
	var language, launch string
	for _, text := range []struct {
		field string
		into  *string
	}{
		{"agent_name", &d.Name}, {"entry_point", &d.EntryPoint}, {"description", &d.Description}, {"language", &language},
		{"language_version", &d.LanguageVersion}, {"agent_type", &d.Type}, {"dependencies_file", &d.DependenciesFile}, {"launch_type", &launch},
	} {
		if err := scalar(f, text.field, text.into); err != nil {
			return err
		}
	}
	if d.Name == "" {
		return missing("common.agent_name", "the agent's name")
	}
	if !agentName.MatchString(d.Name) || name.Check("agent", d.Name) != nil {
		return f["agent_name"].fault("name_invalid", "agent name %q is not valid", name.Clip(d.Name, 80)).
			WithFix("use 1 to 63 letters, digits, '-' or '_', beginning with a letter or digit")
	}
	if d.EntryPoint == "" {
		return missing("common.entry_point", "the file or Go package that the agent starts from")
	}
	if !entryShape.MatchString(d.EntryPoint) || path.IsAbs(d.EntryPoint) || slices.Contains(strings.Split(d.EntryPoint, "/"), "..") {
		return f["entry_point"].fault("agentkit_invalid", "entry point %q is not a path inside the agent's directory", name.Clip(d.EntryPoint, 80)).
			WithFix("use letters, digits, '_', '-', '.' and '/', relative to agentkit.yaml")
	}
	d.EntryPoint = path.Clean(d.EntryPoint)
	var err error
	if d.Language, err = choice(f["language"], language, Python, Golang); err != nil {
		return err
	}
	d.LaunchType, err = choice(f["launch_type"], launch, Cloud, Hybrid, Local)
	return err
}

// choice returns the one of the options that value spells; the first one for "".
func choice[T ~string](e entry, value string, options ...T) (T, error) {
	if value == "" {
		return options[0], nil
	}
	var words []string
	for _, o := range options {
		if string(o) == value {
			return o, nil
		}
		words = append(words, string(o))
	}
	return "", e.fault("agentkit_invalid", "%s %q is not known", e.path, name.Clip(value, 80)).
		WithFix("%s", name.DidYouMean(value, words, "use one of "+strings.Join(words, ", ")))
}

// launch returns the fields of the block that common.launch_type selects, and
// checks the names of fields in the others.
func (p *parser) launch(top map[string]entry, selected LaunchType) (map[string]entry, error) {
	tables := map[string]section{string(Local): localFields(), string(Hybrid): hybridFields(), string(Cloud): cloudFields()}
	types, err := p.section(top["launch_types"].orNull(), section{string(Local): "", string(Hybrid): "", string(Cloud): ""})
	if err != nil {
		return nil, err
	}
	var chosen map[string]entry
	for _, kind := range slices.Sorted(maps.Keys(types)) {
		block, other := types[kind], &parser{}
		fields, err := other.section(block, tables[kind])
		if err != nil {
			return nil, err
		}
		if kind == string(selected) {
			chosen = fields
			p.warnings = append(p.warnings, other.warnings...)
		} else if !block.blank() {
			p.warn(block.path, block.line, fmt.Sprintf("common.launch_type is %s, so this block is not used", selected))
		}
	}
	return chosen, nil
}

func (e entry) orNull() entry {
	if e.value == nil {
		e.value = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	}
	return e
}

// scalar stores the text of a field, if it is there.
func scalar(f map[string]entry, field string, into *string) error {
	e, ok := f[field]
	if !ok || e.null() {
		return nil
	}
	if e.value.Kind != yaml.ScalarNode {
		return e.fault("agentkit_invalid", "%s must be a single value", e.path)
	}
	*into = e.value.Value
	return nil
}
