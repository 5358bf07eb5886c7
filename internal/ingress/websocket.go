package ingress

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"github.com/deputy-id/deputy/internal/jwt"
)

// socketBearer is the subprotocol by which browsers, which cannot set the
// Authorization header of a WebSocket, send a token: followed by '.' and the
// token in base64url, and once more alone, so that there is one to be chosen.
// The convention is that of Amazon Bedrock AgentCore, whose clients have it.
const socketBearer = "base64UrlBearerAuthorization"

var errNoWebSocket = errors.New("the request is no handshake of a WebSocket")

// isWebSocket reports whether a request opens a WebSocket (RFC 6455, section
// 4.1).
func isWebSocket(h http.Header) bool {
	return len(h["Upgrade"]) == 1 && strings.EqualFold(h["Upgrade"][0], "websocket") && len(words(h["Sec-Websocket-Key"])) == 1
}

// words returns the items of a header that holds a list.
func words(values []string) []string {
	var list []string
	for _, v := range values {
		for word := range strings.SplitSeq(v, ",") {
			if word = strings.TrimSpace(word); word != "" {
				list = append(list, word)
			}
		}
	}
	return list
}

// socketToken returns the token among the subprotocols of a handshake, or "".
func socketToken(h http.Header) (string, error) {
	found := ""
	for _, protocol := range words(h["Sec-Websocket-Protocol"]) {
		encoded, ok := strings.CutPrefix(protocol, socketBearer+".")
		if !ok {
			continue
		}
		token, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(encoded, "="))
		if err != nil || found != "" || len(token) > jwt.MaxToken || !b64Token(string(token)) {
			return "", unauthenticated("token_malformed", "the token among the subprotocols is malformed, or there are two")
		}
		found = string(token)
	}
	return found, nil
}

// offered returns the subprotocols that are for the agent.
func offered(h http.Header) []string {
	var list []string
	for _, protocol := range words(h["Sec-Websocket-Protocol"]) {
		if protocol != socketBearer && !strings.HasPrefix(protocol, socketBearer+".") {
			list = append(list, protocol)
		}
	}
	return list
}

// handshake completes the headers with which a WebSocket is asked for at the
// agent.
func handshake(header http.Header, from http.Header) {
	header["Upgrade"], header["Connection"] = []string{"websocket"}, []string{"Upgrade"}
	delete(header, "Sec-Websocket-Protocol")
	if list := offered(from); len(list) > 0 {
		header["Sec-Websocket-Protocol"] = []string{strings.Join(list, ", ")}
	}
}

// chosen completes the agent's answer to a handshake: browsers give up a
// connection for which none of the subprotocols is chosen that they named.
func (q *request) chosen(r *http.Response) {
	if q.socket && r.StatusCode == http.StatusSwitchingProtocols && len(r.Header["Sec-Websocket-Protocol"]) == 0 {
		for _, protocol := range words(q.in.Header["Sec-Websocket-Protocol"]) {
			if protocol == socketBearer {
				r.Header["Sec-Websocket-Protocol"] = []string{socketBearer}
			}
		}
	}
}
