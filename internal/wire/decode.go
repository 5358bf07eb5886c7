package wire

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// document is one JSON document while it is checked against the type that it
// will be decoded into, before encoding/json sees it.
type document struct {
	kind   fault.Kind // of the faults
	strict bool       // refuse members without a field
	at     cursor
	leaves []leaf // values that decode themselves, to find the one that failed
}

// leaf is a value whose Go type has its own idea of JSON.
type leaf struct {
	path string
	typ  reflect.Type
	raw  json.RawMessage
}

func decode(b []byte, into any, d document) error {
	if !utf8.Valid(b) {
		return d.invalid("", "is not valid UTF-8")
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return d.invalid("", "is empty")
	}
	if !json.Valid(b) {
		var whole json.RawMessage
		return d.malformed(json.Unmarshal(b, &whole))
	}
	d.at = cursor{b: b}
	if err := d.value("", reflect.TypeOf(into), 0); err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return d.wrongType(err)
	}
	return nil
}

// value checks the next value, which will be decoded into typ; typ is nil where
// anything is welcome.
func (d *document) value(path string, typ reflect.Type, depth int) error {
	typ = indirect(typ)
	if typ != nil && decodesItself(typ) {
		l := leaf{path, typ, d.at.skip()}
		d.leaves = append(d.leaves, l)
		inner := document{kind: d.kind, at: cursor{b: l.raw}}
		return inner.value(path, nil, depth)
	}
	switch d.at.next() {
	case '{':
		d.at.pass()
		return d.object(path, typ, depth+1)
	case '[':
		d.at.pass()
		return d.array(path, typ, depth+1)
	default:
		d.at.skip()
		return nil
	}
}

func (d *document) object(path string, typ reflect.Type, depth int) error {
	if depth > MaxDepth {
		return d.invalid(path, "is nested more than "+strconv.Itoa(MaxDepth)+" levels deep")
	}
	isStruct := typ != nil && typ.Kind() == reflect.Struct
	seen := map[string]bool{}
	for d.at.more() {
		key, err := d.at.key()
		if err != nil {
			return d.malformed(err)
		}
		at := join(path, key)
		if seen[key] {
			return d.invalid(at, "is there twice")
		}
		seen[key] = true
		fieldType := elem(typ)
		if isStruct {
			f, known := field(typ, key)
			if !known {
				if err := d.unknown(at, key, members(typ)); err != nil {
					return err
				}
			}
			fieldType = f
		}
		if err := d.value(at, fieldType, depth); err != nil {
			return err
		}
	}
	return nil
}

func (d *document) array(path string, typ reflect.Type, depth int) error {
	if depth > MaxDepth {
		return d.invalid(path, "is nested more than "+strconv.Itoa(MaxDepth)+" levels deep")
	}
	for i := 0; d.at.more(); i++ {
		if err := d.value(path+"["+strconv.Itoa(i)+"]", elem(typ), depth); err != nil {
			return err
		}
	}
	return nil
}

// unknown judges a member that no field is named after. encoding/json would
// decode it all the same when only the letter case differs, so that is refused
// in foreign documents too: it could overrule the member that was checked.
func (d *document) unknown(at, key string, names []string) error {
	for _, f := range names {
		if strings.EqualFold(f, key) {
			return d.invalid(at, fmt.Sprintf("must be written %q", f))
		}
	}
	if !d.strict {
		return nil
	}
	return fault.New(d.kind, "json_unknown_field", "there is no field %q", name.Clip(at, 200)).
		WithFix("%s", name.DidYouMean(key, names, "remove it"))
}

func (d *document) invalid(path, what string) error {
	if path == "" {
		return fault.New(d.kind, "json_invalid", "the JSON document %s", what)
	}
	return fault.New(d.kind, "json_invalid", "the JSON field %q %s", name.Clip(path, 200), what)
}

func (d *document) malformed(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return d.invalid("", fmt.Sprintf("is malformed at byte %d", syntax.Offset))
	}
	return d.invalid("", "is malformed")
}

// wrongType names the member that err is about. The text of err itself is not
// shown and not kept: it may quote the value, and the value may be a secret.
func (d *document) wrongType(err error) error {
	var typeErr *json.UnmarshalTypeError
	if errors.As(err, &typeErr) {
		return d.invalid(typeErr.Field, "must be "+describe(typeErr.Type))
	}
	var f *fault.Error
	if errors.As(err, &f) {
		return f
	}
	for _, l := range d.leaves {
		if json.Unmarshal(l.raw, reflect.New(l.typ).Interface()) != nil {
			return d.invalid(l.path, "must be "+describe(l.typ))
		}
	}
	return d.invalid("", "has a value of the wrong type")
}

func describe(t reflect.Type) string {
	switch indirect(t).Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "an integer within its bounds"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Map:
		return "an object"
	case reflect.Struct:
		if n := indirect(t).String(); n == "time.Time" {
			return "a time as in RFC 3339"
		}
		return "an object"
	default:
		return "of another type"
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func indirect(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// elem returns the type of the elements of a map, slice or array.
func elem(t reflect.Type) reflect.Type {
	if t == nil {
		return nil
	}
	switch t.Kind() {
	case reflect.Map, reflect.Slice, reflect.Array:
		return t.Elem()
	default:
		return nil
	}
}

func decodesItself(t reflect.Type) bool {
	if t.PkgPath() == "" && t.Kind() != reflect.Struct {
		return false // types without a name of their own have no methods, except what a struct embeds
	}
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// field returns the type of the member that a struct has under a name. It looks
// for it each time: most types have few members, and most documents fewer.
func field(t reflect.Type, key string) (reflect.Type, bool) {
	var deeper reflect.Type
	for i := range t.NumField() {
		f := t.Field(i)
		member, inner := memberOf(f)
		if inner != nil && deeper == nil {
			deeper, _ = field(inner, key)
		}
		if member != "" && member == key {
			return f.Type, true // also where an embedded struct has one of that name
		}
	}
	return deeper, deeper != nil
}

// members returns the names of all members of a struct.
func members(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		member, inner := memberOf(t.Field(i))
		if inner != nil {
			names = append(names, members(inner)...)
		} else if member != "" {
			names = append(names, member)
		}
	}
	return names
}

// memberOf returns the name of the member that f is decoded from, "" if there
// is none, or the struct whose members f stands for.
func memberOf(f reflect.StructField) (member string, inner reflect.Type) {
	tag := f.Tag.Get("json")
	member, _, _ = strings.Cut(tag, ",")
	switch embedded := indirect(f.Type); {
	case tag == "-":
		return "", nil
	case f.Anonymous && member == "" && embedded.Kind() == reflect.Struct:
		return "", embedded
	case !f.IsExported():
		return "", nil
	case member == "":
		return f.Name, nil
	default:
		return member, nil
	}
}
