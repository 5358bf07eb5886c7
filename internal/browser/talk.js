// Sends what a person says to the agent and shows the answer as it comes. An
// answer is a stream of events of the Agent Development Kit, or one JSON value.
// What an agent says is shown as text, never as HTML; its links count only if they
// lead to Deputy itself (data-links).
"use strict";

(() => {
  const form = document.getElementById("say");
  const prompt = document.getElementById("prompt");
  const said = document.getElementById("said");
  const send = document.getElementById("send");
  const stop = document.getElementById("stop");
  const words = form.dataset;
  const conversation = crypto.randomUUID();
  let running = null;

  function message(kind, by, text) {
    document.getElementById("empty")?.remove();
    const p = said.appendChild(document.createElement("div"));
    p.className = "message " + kind;
    if (by) p.appendChild(Object.assign(document.createElement("span"), { className: "by", textContent: by }));
    const body = p.appendChild(document.createElement("span"));
    body.textContent = text;
    p.scrollIntoView({ block: "end" });
    return { p, body };
  }

  function link(at, label, url) {
    const a = Object.assign(document.createElement("a"), { className: "button main", textContent: label, href: url, target: "_blank", rel: "noopener noreferrer" });
    at.appendChild(document.createElement("br"));
    at.appendChild(a);
  }

  // answer collects the pieces of one answer. Partial events carry pieces; the
  // event that closes a run repeats it, and the last one may repeat everything. What
  // comes after a request for permission stands below it.
  function answer() {
    let shown = message("agent", words.agent, words.working);
    let before = "", done = "", run = "";
    const show = () => { shown.body.textContent = done + run || words.working; shown.p.scrollIntoView({ block: "end" }); };
    const close = () => {
      if (done + run) shown.body.textContent = (done + run).trim();
      else shown.p.remove();
      before += done + run;
      done = run = "";
    };
    return {
      piece(text, partial) {
        if (partial) run += text;
        else {
          const known = [before + done + run, done + run, run].some((all) => all.trim() === text.trim());
          if (!known) run = text.startsWith(run) ? text : run + "\n\n" + text;
          if (run) done += run + "\n\n";
          run = "";
        }
        show();
      },
      asks(url) {
        let ours = false;
        try { ours = new URL(url).origin === words.links; } catch { /* not a link */ }
        close();
        if (ours) link(message("agent", words.agent, words.asks).p, words.open, url);
        else message("error", "", words.foreign);
        shown = message("agent", words.agent, words.working);
      },
      end: close,
    };
  }

  function event(to, e) {
    if (e.error || e.errorMessage) return message("error", "", String(e.error || e.errorMessage));
    if (e.author === "user" || !Array.isArray(e.content?.parts)) return;
    for (const part of e.content.parts) {
      if (part.functionCall?.name === "adk_request_credential") to.asks(part.functionCall.args?.authConfig?.exchangedAuthCredential?.oauth2?.authUri);
    }
    const text = e.content.parts.map((part) => (part.thought ? "" : part.text ?? "")).join("");
    if (text) to.piece(text, e.partial === true);
  }

  async function stream(body, to) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      rest += value ?? "";
      const blocks = rest.split(/\r?\n\r?\n/);
      rest = done ? "" : blocks.pop();
      for (const block of blocks) {
        const data = block.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart()).join("\n");
        let e;
        try { e = JSON.parse(data); } catch { continue; }
        event(to, e);
      }
      if (done) return;
    }
  }

  function whole(text) {
    let v;
    try { v = JSON.parse(text); } catch { return text; }
    if (typeof v === "string") return v;
    for (const key of ["output", "text", "answer", "response", "result"]) if (typeof v?.[key] === "string") return v[key];
    return JSON.stringify(v, null, 2);
  }

  async function refused(response) {
    if (response.status === 401) return link(message("error", "", words.expired).p, words.login, words.again);
    let why = "";
    try { why = (await response.json()).error.message; } catch { /* not an answer of Deputy */ }
    message("error", "", why || String(response.status));
  }

  async function ask(text) {
    message("you", words.you, text);
    running = new AbortController();
    send.disabled = true;
    stop.hidden = false;
    let to = null;
    try {
      const response = await fetch(form.action, {
        method: "POST", redirect: "error", signal: running.signal, body: JSON.stringify({ prompt: text }),
        headers: { "Content-Type": "application/json", Accept: "text/event-stream", "X-Session-Id": conversation },
      });
      if (!response.ok) return await refused(response);
      to = answer();
      if (response.headers.get("Content-Type")?.startsWith("text/event-stream")) await stream(response.body, to);
      else to.piece(whole(await response.text()), false);
    } catch (e) {
      message("error", "", running.signal.aborted ? words.stopped : words.lost);
    } finally {
      to?.end();
      running = null;
      send.disabled = false;
      stop.hidden = true;
      prompt.focus();
    }
  }

  form.addEventListener("submit", (e) => {
    e.preventDefault();
    const text = prompt.value.trim();
    if (running || !text) return;
    prompt.value = "";
    ask(text);
  });
  prompt.addEventListener("keydown", (e) => {
    if (e.key !== "Enter" || e.shiftKey || e.isComposing) return;
    e.preventDefault();
    form.requestSubmit();
  });
  stop.addEventListener("click", () => running?.abort());
})();
