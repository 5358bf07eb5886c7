package visitor

import (
	"fmt"
	"html"
	"net/url"
	"strings"
)

// Form is an HTML form as a browser without scripts sees it: where it goes and
// what it would send.
type Form struct {
	Action string
	Method string     // "get" or "post"
	Fields url.Values // inputs with their values
	// Choices are the values of the form's named buttons: a browser sends the one that was pressed.
	Choices url.Values
}

// Has reports whether the form has an input or a button with that name.
func (f Form) Has(field string) bool { return f.Fields.Has(field) || f.Choices.Has(field) }

// press fills in the named fields and presses a button. An input that the form
// does not have, or a button, is an error: a visitor must not send what a
// person could not.
func (f Form) press(fill url.Values, button, choice string) (url.Values, error) {
	sent := url.Values{}
	for field, values := range f.Fields {
		sent[field] = values
	}
	for field, values := range fill {
		if !f.Fields.Has(field) {
			return nil, fmt.Errorf("the form has no field %q", field)
		}
		sent[field] = values
	}
	if button == "" {
		return sent, nil
	}
	for _, value := range f.Choices[button] {
		if value == choice {
			sent.Set(button, choice)
			return sent, nil
		}
	}
	return nil, fmt.Errorf("the form has no button %q with the value %q", button, choice)
}

// The bounds of a page.
const (
	maxForms      = 32
	maxFields     = 256 // of all forms
	maxAttributes = 64  // of one tag
)

// readForms returns the forms of a page. It understands what the pages of this
// project are made of — tags with attributes, comments, style — and takes
// everything else for text.
func readForms(page string) []Form {
	var forms []Form
	open := false
	total := 0
	for tag := range tags(page) {
		switch {
		case tag.name == "form" && len(forms) < maxForms:
			forms = append(forms, Form{Action: tag.attributes["action"], Method: strings.ToLower(tag.attributes["method"]), Fields: url.Values{}, Choices: url.Values{}})
			if f := &forms[len(forms)-1]; f.Method != "post" {
				f.Method = "get"
			}
			open = true
		case tag.name == "/form":
			open = false
		case !open || tag.attributes["name"] == "" || total >= maxFields:
		case tag.name == "input":
			total++
			addInput(&forms[len(forms)-1], tag.attributes)
		case tag.name == "button":
			total++
			forms[len(forms)-1].Choices.Add(tag.attributes["name"], tag.attributes["value"])
		}
	}
	return forms
}

func addInput(f *Form, attributes map[string]string) {
	name, value := attributes["name"], attributes["value"]
	switch strings.ToLower(attributes["type"]) {
	case "submit", "image":
		f.Choices.Add(name, value)
	case "checkbox", "radio":
		if _, checked := attributes["checked"]; checked {
			f.Fields.Add(name, value)
		}
	case "button", "reset", "file":
	default:
		f.Fields.Add(name, value)
	}
}

// tag is one tag: its name in lower case, with a slash in front if it closes.
type tag struct {
	name       string
	attributes map[string]string // the first of several with one name counts
}

// tags iterates over the tags of a page.
func tags(page string) func(yield func(tag) bool) {
	return func(yield func(tag) bool) {
		for {
			_, rest, found := strings.Cut(page, "<")
			if !found {
				return
			}
			if after, comment := strings.CutPrefix(rest, "!--"); comment {
				_, page, _ = strings.Cut(after, "-->")
				continue
			}
			if !beginsTag(rest) {
				page = rest
				continue
			}
			t, after, whole := readTag(rest)
			if !whole || !yield(t) {
				return
			}
			page = after
			switch t.name {
			case "script", "style", "textarea", "title":
				page = behindText(page, t.name)
			}
		}
	}
}

// behindText skips what stands in an element that holds text only, whatever that
// looks like. It returns the page from the end tag on.
func behindText(page, element string) string {
	for {
		i := strings.Index(page, "</")
		if i < 0 {
			return ""
		}
		page = page[i:]
		if end := len("</") + len(element); len(page) >= end && strings.EqualFold(page[len("</"):end], element) {
			return page
		}
		page = page[len("</"):]
	}
}

const space = " \t\r\n\f"

// beginsTag reports whether what stands behind a "<" makes it a tag.
func beginsTag(s string) bool {
	s = strings.TrimPrefix(s, "/")
	return s != "" && ('a' <= s[0] && s[0] <= 'z' || 'A' <= s[0] && s[0] <= 'Z')
}

// readTag reads a tag from behind its "<" and returns what follows its ">". It
// reports false for a tag that the page's end cuts off.
func readTag(s string) (t tag, rest string, whole bool) {
	end := strings.IndexAny(s, space+">")
	if end < 0 {
		return tag{}, "", false
	}
	t = tag{name: strings.ToLower(strings.TrimSuffix(s[:end], "/")), attributes: map[string]string{}}
	s = s[end:]
	for {
		s = strings.TrimLeft(s, space+"/")
		if s == "" {
			return tag{}, "", false
		}
		if s[0] == '>' {
			return t, s[1:], true
		}
		var name, value string
		name, value, s = readAttribute(s)
		if _, double := t.attributes[name]; !double && len(t.attributes) < maxAttributes {
			t.attributes[name] = html.UnescapeString(value)
		}
	}
}

// readAttribute reads one attribute; s is not empty and does not begin with
// space or ">". It always takes at least one byte of s.
func readAttribute(s string) (name, value, rest string) {
	end := strings.IndexAny(s[1:], space+"/>=") // a "=" in the first place belongs to the name
	if end < 0 {
		return strings.ToLower(s), "", ""
	}
	name, rest = strings.ToLower(s[:end+1]), s[end+1:]
	after, assigned := strings.CutPrefix(strings.TrimLeft(rest, space), "=")
	if !assigned {
		return name, "", rest
	}
	after = strings.TrimLeft(after, space)
	if after == "" {
		return name, "", ""
	}
	if quote := after[0]; quote == '"' || quote == '\'' {
		value, rest, _ = strings.Cut(after[1:], string(quote))
		return name, value, rest
	}
	end = strings.IndexAny(after, space+">")
	if end < 0 {
		return name, after, ""
	}
	return name, after[:end], after[end:]
}
