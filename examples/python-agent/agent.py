#!/usr/bin/env python3
"""An agent without an SDK: Python's standard library, and Deputy's HTTP API.

It is given the link of a Feishu document and says how the document begins. Read
it to learn what an SDK does: serve() answers the runtime, Deputy speaks to the
identity service, and credential() asks a user who has not agreed yet.
"""

import json
import os
import re
import signal
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DEPUTY = os.environ["DEPUTY_URL"].rstrip("/")
PROVIDER = os.environ.get("FEISHU_CREDENTIAL_PROVIDER", "feishu_oauth")
FEISHU = os.environ.get("FEISHU_API_BASE", "https://open.feishu.cn").rstrip("/")
SCOPES = ["docx:document:readonly"]

MAX_BODY = 256 << 10  # bytes of a prompt's request
MAX_ANSWER = 1 << 20  # bytes of an answer of Deputy's or Feishu's
MAX_ASKS = 3  # how often a user is asked in one turn
REFUSED = (99991663, 99991668, 99991677)  # Feishu's codes for a token that it does not take (any more)


class Refusal(Exception):
    """What the user may read of an error."""

    def __init__(self, code, message, status=0):
        super().__init__(message)
        self.code, self.status = code, status


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry a token elsewhere."""

    def redirect_request(self, *_):
        return None


http = urllib.request.build_opener(NoRedirects)


def request(method, url, token, body=None, timeout=20):
    """Sends a request with a bearer token and returns status and JSON."""
    data = None if body is None else json.dumps(body).encode()
    r = urllib.request.Request(url, data, {"Authorization": "Bearer " + token, "Accept": "application/json"}, method=method)
    if data is not None:
        r.add_header("Content-Type", "application/json")
    try:
        with http.open(r, timeout=timeout) as answer:
            return answer.status, json.loads(answer.read(MAX_ANSWER) or b"null")
    except urllib.error.HTTPError as e:
        with e:
            try:
                return e.code, json.loads(e.read(MAX_ANSWER))
            except ValueError:
                return e.code, {}
    except (OSError, ValueError) as e:
        # The error itself may name what was sent.
        raise Refusal("unreachable", "%s does not answer" % urllib.parse.urlsplit(url).hostname) from None


class Deputy:
    """Deputy's API for one workload access token, which says who is asking."""

    def __init__(self, token):
        self.token = token

    def call(self, method, path, body=None, timeout=20):
        status, answer = request(method, DEPUTY + "/api/v1" + path, self.token, body, timeout)
        if status // 100 != 2:
            raise Refusal(answer.get("code", "unexpected_answer"), answer.get("detail") or "Deputy answered %d" % status, status)
        return answer

    def user(self):
        """Who the agent acts for. Deputy checks the token, so that this program need not know how."""
        return self.call("GET", "/whoami").get("user")

    def credential(self, show, refused=""):
        """Returns the user's access token. show is called with a link if the user has to agree first."""
        ask = {"provider": PROVIDER, "scopes": SCOPES}
        if refused:
            ask["refused"] = refused
        for _ in range(MAX_ASKS):
            answer = self.call("POST", "/credentials", ask)
            if answer["status"] == "ready":
                return answer["credential"]["accessToken"]
            asked = answer["authorization"]
            show(asked)
            self.wait(asked)
        raise Refusal("consent_incomplete", "you agreed, but not to all that was asked for")

    def wait(self, asked):
        """Returns when the user has agreed. Deputy answers as soon as there is news."""
        end = time.monotonic() + 15 * 60
        while time.monotonic() < end:
            a = self.call("GET", "/authorizations/%s?wait=25s" % urllib.parse.quote(asked["id"]), timeout=45)
            if a["state"] == "completed":
                return
            if a["state"] in ("failed", "expired"):
                raise Refusal(a.get("reason") or a["state"], a.get("message") or "the link was not used in time")
        raise Refusal("expired", "the link was not used in time")


class Turn(BaseHTTPRequestHandler):
    """One request of the runtime's."""

    protocol_version = "HTTP/1.1"
    timeout = 30  # for the request to arrive, and between two writes

    def do_GET(self):
        if self.path in ("/ping", "/health"):
            self.answer(200, {"status": "Healthy"})
        else:
            self.answer(404, {"error": {"code": "route_not_found", "message": "This agent answers POST /invoke."}})

    def do_POST(self):
        size = int(self.headers.get("Content-Length") or 0)
        if self.path != "/invoke" or size > MAX_BODY:
            self.close_connection = True
            return self.answer(404 if size <= MAX_BODY else 413, {"error": {"code": "request_invalid", "message": "This agent answers POST /invoke."}})
        try:
            prompt = json.loads(self.rfile.read(size))["prompt"]
            assert isinstance(prompt, str)
        except (ValueError, TypeError, KeyError, AssertionError):
            return self.answer(400, {"error": {"code": "prompt_missing", "message": 'The request needs a "prompt" that is a text.'}})
        deputy = Deputy(self.headers.get("WorkloadAccessToken", ""))
        try:
            user = deputy.user()
        except Refusal as e:
            return self.answer(401 if e.status == 401 else 503, {"error": {"code": e.code, "message": str(e)}})
        if not user:
            return self.answer(401, {"error": {"code": "token_without_user", "message": "the token acts for nobody"}})
        self.stream(deputy, prompt)

    def stream(self, deputy, prompt):
        """Answers in events of the Agent Development Kit."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            text = self.respond(deputy, prompt)
            self.event("model", {"text": text}, partial=True)
            self.event("model", {"text": text}, partial=False, turnComplete=True)
        except Refusal as e:
            self.write({"error": str(e), "error_type": e.code, "message": "An error occurred during streaming"})
        except OSError:
            pass  # the user went away

    def respond(self, deputy, prompt):
        found = re.search(r"/docx/([A-Za-z0-9]+)", prompt)
        if not found:
            return "Give me the link of a document, and I say how it begins."
        url = FEISHU + "/open-apis/docx/v1/documents/%s/raw_content" % found.group(1)
        token = deputy.credential(self.show)
        status, answer = request("GET", url, token)
        if status == 401 or answer.get("code") in REFUSED:
            status, answer = request("GET", url, deputy.credential(self.show, refused=token))
        if answer.get("code") != 0:
            raise Refusal("document_unreadable", "Feishu does not show this document to you (%s)" % answer.get("code", status))
        return "It begins: " + answer["data"]["content"].split("\n")[0]

    def show(self, asked):
        """Shows the user an authorization link, in the way that clients of such streams look for."""
        call = "adk-" + uuid.uuid4().hex
        credential = {"authType": "oauth2", "resourceRef": asked["id"], "oauth2": {"authUri": asked["url"]}}
        flow = {"authorizationUrl": "__EMPTY__", "tokenUrl": "__EMPTY__", "scopes": {}}
        config = {
            "authScheme": {"type": "oauth2", "flows": {"authorizationCode": flow}},
            "rawAuthCredential": credential, "exchangedAuthCredential": credential, "credentialKey": PROVIDER,
        }
        args = {"functionCallId": call, "authConfig": config}
        self.event("user", {"functionCall": {"id": call, "name": "adk_request_credential", "args": args}}, longRunningToolIds=[call])

    def event(self, role, part, **more):
        event = {"content": {"role": role, "parts": [part]}, "author": "python-agent", "actions": {}, "id": uuid.uuid4().hex, "timestamp": time.time()}
        self.write({**event, **more})

    def write(self, event):
        self.wfile.write(b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n")
        self.wfile.flush()

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, form, *args):
        sys.stderr.write("%s %s\n" % (self.command, form % args))


def serve():
    server = ThreadingHTTPServer((os.environ.get("DEPUTY_HOST", "127.0.0.1"), int(os.environ["PORT"])), Turn)
    server.daemon_threads = False  # running answers finish
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    server.server_close()


if __name__ == "__main__":
    serve()
