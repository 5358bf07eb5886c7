// Package deputy is for people who write agents: tools that act for a person at a third party, without ever holding that person's token.
//
// An agent is a struct literal. A tool is a function; the credentials it needs
// are declared next to it:
//
//	feishu := deputy.OAuth2("feishu_oauth", "docx:document:readonly").At("https://open.feishu.cn")
//
//	read := deputy.NewTool("read_document", "Reads the text of a document.", readDocument, feishu)
//
//	func readDocument(ctx context.Context, call *deputy.Call, in struct {
//		ID string `json:"id" jsonschema:"the document's id"`
//	}) (string, error) {
//		req, err := http.NewRequestWithContext(ctx, "GET", "https://open.feishu.cn/…/"+in.ID, nil)
//		if err != nil {
//			return "", err
//		}
//		resp, err := call.HTTP.Do(req) // carries the user's credential, if the user agreed
//		…
//	}
//
// What happens in call.HTTP when the user has not agreed yet: the request
// stops, the user is sent a link on the answer's stream, Deputy pushes the news
// when he has agreed, and the request goes on, at that very place; nothing
// before it runs twice. If he does not agree, the request returns an
// [*AuthorizationError] that says why. If the user's own request is cancelled
// meanwhile, so is everything else.
//
// The token never reaches the tool's code. It is added to requests to the
// origins named by [Credential.At], over TLS (or loopback), and to no others; a
// redirect to another origin is not followed. (A tool made by [NewTokenTool] is the
// exception, and says so.)
//
// Outside of an [Agent] there is a [Caller]: in a job without a user, or under an
// agent framework of somebody else's. docs/sdk-go.md has a section for each thing
// that there is.
//
// The package needs the standard library only. Bottom up: secret.go and
// error.go are its words; jwt.go and jwks.go verify who is asking; sse.go,
// client.go, answer.go and wait.go speak to Deputy; credential.go, wallet.go and
// transport.go put credentials on requests, for caller.go and for turns;
// schema.go and tool.go make functions into tools; event.go and whole.go write
// the answer, as a stream (Agent Development Kit events) or in one piece; turn.go
// joins these for one prompt, and ask.go asks other agents in it; invoke.go,
// agent.go and serve.go put it on HTTP.
package deputy
