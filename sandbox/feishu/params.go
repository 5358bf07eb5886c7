package feishu

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
)

// maxBody bounds every request body.
const maxBody = 64 << 10

var errMalformed = errors.New("malformed request body")

// readParams reads the body of a token request, JSON or form; both work at v2
// and v3, whatever the documentation of v2 says. A parameter that comes twice or
// is not a string is malformed (RFC 6749 section 3.2).
func readParams(r *http.Request) (map[string]string, error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if err != nil {
		return nil, errMalformed
	}
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, errMalformed
	}
	switch mediaType {
	case "application/json":
		return jsonParams(body)
	case "application/x-www-form-urlencoded":
		return formParams(body)
	}
	return nil, errMalformed
}

func formParams(body []byte) (map[string]string, error) {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errMalformed
	}
	params := make(map[string]string, len(values))
	for name, all := range values {
		if len(all) != 1 {
			return nil, errMalformed
		}
		params[name] = all[0]
	}
	return params, nil
}

// jsonParams reads one flat object by tokens, since unmarshalling into a map
// would let a second member of the same name win silently.
func jsonParams(body []byte) (map[string]string, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errMalformed
	}
	params := make(map[string]string)
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, errMalformed
		}
		value, err := dec.Token()
		if err != nil {
			return nil, errMalformed
		}
		key := name.(string) // a JSON object's keys are strings
		if _, twice := params[key]; twice {
			return nil, errMalformed
		}
		switch v := value.(type) {
		case string:
			params[key] = v
		case nil: // absent
		default:
			return nil, errMalformed
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, errMalformed
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errMalformed
	}
	return params, nil
}
