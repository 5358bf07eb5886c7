package apiclient

import "net/url"

// path joins segments, each escaped.
func path(segments ...string) string {
	p := ""
	for _, s := range segments {
		p += "/" + url.PathEscape(s)
	}
	return p
}

// list is how the API answers with several of a kind.
type list[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"` // the "after" of the next page; "" on the last one
}
