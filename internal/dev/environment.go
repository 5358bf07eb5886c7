package dev

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// plain is a value that means the same to shells, to readers of .env files and to
// debuggers without quotes.
var plain = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,=-]*$`)

// environmentFile returns the text of a file with variables, for shells (set -a; .
// FILE), .env readers and debuggers, and the names of those that cannot be
// written so that all of them read the same.
func environmentFile(variables map[string]string) (text []byte, left []string) {
	var b bytes.Buffer
	b.WriteString("# Written by deputy dev at each start: what an agent needs to know.\n")
	for _, variable := range slices.Sorted(maps.Keys(variables)) {
		switch value := variables[variable]; {
		case plain.MatchString(value):
			fmt.Fprintf(&b, "%s=%s\n", variable, value)
		case strings.ContainsAny(value, "'\n\r\x00"):
			left = append(left, variable)
		default:
			fmt.Fprintf(&b, "%s='%s'\n", variable, value)
		}
	}
	return b.Bytes(), left
}

// asList returns variables as a process takes them.
func asList(variables map[string]string) []string {
	var list []string
	for variable, value := range variables {
		list = append(list, variable+"="+value)
	}
	return list
}
