# An agent that speaks as agents of the Agent Development Kit do: pieces, the whole
# again, requests for authorization. What it says depends on what it is told.
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def event(text=None, partial=False, link=None):
    parts = []
    if text is not None:
        parts.append({"text": text})
    if link is not None:
        parts.append({"functionCall": {"name": "adk_request_credential", "args": {"authConfig": {"exchangedAuthCredential": {"oauth2": {"authUri": link}}}}}})
    return {"author": "talker", "partial": partial, "content": {"role": "model", "parts": parts}}


class Agent(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer("application/json", b'{"status":"Healthy"}')

    def do_POST(self):
        prompt = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["prompt"]
        if prompt == "json":
            self.answer("application/json", json.dumps({"output": "a plain answer"}).encode())
        elif prompt == "permission":
            self.stream(event(link=os.environ["DEPUTY_URL"] + "/authorize/some-link"), event("Now I may."))
        elif prompt == "phishing":
            self.stream(event(link="https://evil.example/authorize"), event(link="javascript:alert(1)"))
        elif prompt == "trouble":
            self.stream({"error": "the tool broke <b>down</b>", "error_type": "tool_failed"})
        else:
            self.stream(event("You said: ", True), event("<img src=x onerror=alert(1)>" + prompt, True), event("You said: <img src=x onerror=alert(1)>" + prompt), event("Anything else?"))

    def stream(self, *events):
        self.answer("text/event-stream", b"".join(b"data: " + json.dumps(e).encode() + b"\n\n" for e in events))

    def answer(self, kind, body):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Agent).serve_forever()
