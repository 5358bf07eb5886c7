// The page of the chat application. It keeps the conversation in the document,
// sends one message at a time and draws the answer while it arrives.

import { render } from "./markdown.js";

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const log = $("log");
const box = $("message");
const main = document.querySelector("main");
const DRAFT = "deputy-chat-draft";

let lang = data.lang;
let running = null; // the Answer that is being written
let nextId = 0;

// ---- words ----------------------------------------------------------------

const fillers = new WeakMap(); // node -> what goes into the {braces} of its text

function t(key, fill = {}) {
  const text = data.words[lang][key] ?? data.words.en[key] ?? "";
  return text.replace(/\{(\w+)\}/g, (whole, name) => fill[name] ?? whole);
}

// say gives node the text of key, in whatever language the page is switched to.
function say(node, key, fill) {
  node.dataset.t = key;
  if (fill) fillers.set(node, fill);
  node.textContent = t(key, fill);
  return node;
}

function speak(next) {
  lang = next;
  document.documentElement.lang = lang;
  document.title = t("title");
  for (const node of document.querySelectorAll("[data-t]")) {
    if (node.id !== "language") node.textContent = t(node.dataset.t, fillers.get(node));
  }
  $("language").textContent = t("language");
  for (const name of ["aria-label", "placeholder"]) {
    for (const node of document.querySelectorAll(`[data-t-${name}]`)) {
      node.setAttribute(name, t(node.getAttribute(`data-t-${name}`)));
    }
  }
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `deputy_chat_lang=${lang}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
}

// ---- building blocks --------------------------------------------------------

function el(tag, props = {}, ...children) {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
}

const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  shield: "M8 1.7l5.2 1.9v4c0 3.3-2.2 5.6-5.2 6.7-3-1.1-5.2-3.4-5.2-6.7v-4zM5.7 7.9l1.6 1.7 3-3.2",
  check: "m3.5 8.5 3 3 6-7",
  alert: "M8 4.5v4.2M8 11.4v.1M8 1.8l6.5 11.9h-13z",
};

function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

const atBottom = () => main.scrollHeight - main.scrollTop - main.clientHeight < 80;
const toBottom = () => (main.scrollTop = main.scrollHeight);

// keeping draws and keeps the end in view for a reader who is there; somebody
// who scrolled up to read is left alone.
function keeping(draw) {
  const follow = atBottom();
  draw();
  if (follow) toBottom();
}

function announce(key) {
  const status = $("status");
  status.textContent = "";
  say(status, key);
}

// ---- one answer -------------------------------------------------------------

class Answer {
  constructor() {
    this.abort = new AbortController();
    this.text = "";
    this.part = null; // the element that text is drawn into
    this.partText = "";
    this.card = null;
    this.failed = false;
    this.drawing = 0;
    this.cost = 0; // milliseconds of the last drawing
    this.body = el("div", { className: "body" });
    this.busy = el("p", { className: "busy" }, dots(), say(el("span"), "thinking"));
    this.node = el("article", { className: "turn assistant", id: `turn-${nextId++}` },
      el("span", { className: "by" }, data.agent), this.body, this.busy);
    this.node.dataset.role = "assistant";
    this.node.setAttribute("aria-busy", "true");
    this.state("streaming");
    log.append(this.node);
  }

  state(name) {
    this.node.dataset.state = name;
    this.busy.hidden = name !== "streaming" || this.text !== "";
  }

  event(e) {
    switch (e.type) {
      case "text":
        this.addText(e.text ?? "");
        break;
      case "authorization":
        keeping(() => this.askAuthorization(e));
        break;
      case "authorized":
        keeping(() => this.settleCard("authDone", true));
        this.state("streaming");
        this.busy.hidden = false;
        break;
      case "error":
        keeping(() => this.fail(e.code, e.message));
        break;
    }
  }

  addText(text) {
    if (!text) return;
    if (!this.part) {
      this.part = el("div", { className: "prose" });
      this.partText = "";
      this.body.append(this.part);
    }
    this.text += text;
    this.partText += text;
    this.busy.hidden = true;
    // A long answer takes longer to draw and is therefore drawn less often.
    this.drawing ||= setTimeout(() => this.draw(), Math.min(this.cost * 4, 1000));
  }

  draw() {
    clearTimeout(this.drawing);
    this.drawing = 0;
    if (!this.part) return;
    const began = performance.now();
    keeping(() => this.part.replaceChildren(render(this.partText)));
    this.cost = performance.now() - began;
  }

  // askAuthorization shows the card. The link opens on the person's own click
  // only, so that a page never opens a login by itself.
  askAuthorization({ url, provider }) {
    let target;
    try {
      target = new URL(url);
    } catch {
      return this.fail("authorization_url_refused");
    }
    if (target.protocol !== "https:" && target.protocol !== "http:") return this.fail("authorization_url_refused");
    this.draw();
    this.part = null;
    this.settleCard("authOver", false);
    document.getElementById("authorize")?.removeAttribute("id");

    const title = say(el("h3"), provider ? "authTitleProvider" : "authTitle", { provider });
    const open = say(el("a", { id: "authorize", className: "button", href: target.href, target: "_blank", rel: "noopener noreferrer" }), "authOpen");
    const host = say(el("span", { className: "host" }), "authHost", { host: target.host });
    const waiting = el("p", { className: "waiting" }, dots(), say(el("span"), "authWaiting"), " ", say(el("span", { className: "faint" }), "authReturn"));
    const row = el("div", { className: "row" }, open, host);
    this.card = el("section", { className: "card auth" }, el("div", { className: "card-icon" }, icon("shield")),
      el("div", { className: "card-main" }, title, say(el("p"), "authText"), row, waiting));
    waiting.hidden = true;
    open.addEventListener("click", () => {
      keeping(() => {
        waiting.hidden = false;
        open.classList.add("secondary");
        say(open, "authAgain");
      });
      announce("authWaiting");
    });
    this.body.append(this.card);
    this.state("waiting");
    announce("authTitle");
    if (!box.value.trim() && (document.activeElement === box || document.activeElement === document.body || document.activeElement === $("stop"))) {
      open.focus({ preventScroll: true });
    }
  }

  // settleCard folds the card into one line when the wait is over.
  settleCard(key, good) {
    if (!this.card) return;
    const hadFocus = this.card.contains(document.activeElement);
    const line = el("p", { className: good ? "settled good" : "settled" }, icon(good ? "check" : "shield"), say(el("span"), key));
    this.card.replaceWith(line);
    this.card = null;
    if (hadFocus) box.focus({ preventScroll: true });
    announce(key);
  }

  fail(code, message) {
    this.failed = true;
    this.draw();
    this.part = null;
    this.settleCard("authOver", false);
    const known = data.words.en["error." + code] !== undefined;
    const words = el("div", { className: "card-main" });
    words.append(known ? say(el("p"), "error." + code) : el("p", {}, message || t("error.agent_error")));
    // The gate's or the agent's own words help whoever has to repair it.
    const detail = known && code.startsWith("agent_") && /\((.+)\)$/.exec(message ?? "")?.[1] || code === "agent_error" && message;
    if (detail) words.append(el("p", { className: "faint" }, detail));
    const login = code === "login_required" || code === "session_expired";
    if (login) {
      words.append(say(el("a", { className: "button", href: "/login" }), "loginAgain"),
        say(el("p", { className: "faint" }), "draftKept"));
    }
    const card = el("section", { className: login ? "card" : "card error" }, el("div", { className: "card-icon" }, icon(login ? "shield" : "alert")), words);
    card.setAttribute("role", "alert");
    this.body.append(card);
  }

  finish(outcome) {
    keeping(() => {
      this.draw();
      this.settleCard("authOver", false);
      if (outcome === "stopped") this.body.append(say(el("p", { className: "settled" }), "stopped"));
      this.node.setAttribute("aria-busy", "false");
      this.node.dataset.outcome = this.failed ? "error" : outcome;
      this.state("done");
      this.busy.hidden = true;
    });
    if (!this.failed && outcome === "ok") announce("statusDone");
  }
}

function dots() {
  const node = el("span", { className: "dots" }, el("i"), el("i"), el("i"));
  node.setAttribute("aria-hidden", "true");
  return node;
}

// ---- talking to the server --------------------------------------------------

async function ask(text) {
  const answer = new Answer();
  running = answer;
  busy(true);
  toBottom();
  let outcome = "ok";
  try {
    const response = await fetch("/api/chat", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ message: text }),
      signal: answer.abort.signal,
    });
    if (response.ok) {
      await readEvents(response.body, (e) => answer.event(e));
    } else {
      const { error = {} } = await response.json().catch(() => ({}));
      if (response.status === 401) keepDraft(text);
      answer.event({ type: "error", code: error.code ?? "network", message: error.message });
    }
  } catch {
    if (answer.abort.signal.aborted) outcome = "stopped";
    else answer.event({ type: "error", code: "network" });
  } finally {
    running = null;
    busy(false);
    answer.finish(outcome);
  }
}

// readEvents calls on for each event of the stream. A stream that ends without
// "done" was cut off.
async function readEvents(stream, on) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("cut off");
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      if (!event.startsWith("data: ")) continue;
      const e = JSON.parse(event.slice(6));
      if (e.type === "done") return;
      on(e);
    }
  }
}

function keepDraft(text) {
  try {
    sessionStorage.setItem(DRAFT, text);
  } catch {
    // Storage may be switched off; then the draft is only in the conversation.
  }
}

// ---- the composer -----------------------------------------------------------

function busy(is) {
  const hadFocus = document.activeElement === $("stop") || document.activeElement === $("send");
  $("send").hidden = is;
  $("stop").hidden = !is;
  if (hadFocus) (is ? $("stop") : box).focus({ preventScroll: true });
}

function grow() {
  box.style.height = "auto";
  box.style.height = Math.min(box.scrollHeight, 200) + "px";
}

function submit(text) {
  text = text.trim();
  if (!text || running) return;
  $("hello").hidden = true;
  $("notice")?.remove();
  if ($("new")) $("new").hidden = false;
  const node = el("article", { className: "turn user" }, say(el("span", { className: "by" }), "you"), el("p", {}, text));
  node.dataset.role = "user";
  log.append(node);
  ask(text);
}

$("composer").addEventListener("submit", (e) => {
  e.preventDefault();
  if (running) return;
  const text = box.value;
  box.value = "";
  grow();
  submit(text);
});

box.addEventListener("input", grow);
box.addEventListener("keydown", (e) => {
  // Enter that picks a word in an input method is not a wish to send.
  if (e.key !== "Enter" || e.shiftKey || e.isComposing || e.keyCode === 229) return;
  e.preventDefault();
  if (!running) $("composer").requestSubmit();
});

// Some keyboards and tools deliver the character apart from the key.
box.addEventListener("keypress", (e) => {
  if (e.key === "Enter" && !e.shiftKey) e.preventDefault();
});

$("stop").addEventListener("click", () => running?.abort.abort());

document.addEventListener("keydown", (e) => {
  if (e.key === "Escape" && running) running.abort.abort();
});

for (const button of document.querySelectorAll(".example")) {
  button.addEventListener("click", () => {
    submit(t(button.dataset.prompt, { url: button.dataset.url }));
    box.focus({ preventScroll: true });
  });
}

$("language").addEventListener("click", () => speak(lang === "zh" ? "en" : "zh"));

$("close-notice")?.addEventListener("click", () => {
  $("notice").remove();
  box.focus();
});

$("new")?.addEventListener("click", async () => {
  running?.abort.abort();
  const response = await fetch("/api/conversation", { method: "POST" }).catch(() => null);
  if (!response?.ok && response?.status !== 401) return;
  log.replaceChildren();
  $("hello").hidden = false;
  $("new").hidden = true;
  announce("newStarted");
  box.focus();
});

document.querySelector('form[action="/logout"]')?.addEventListener("submit", () => sessionStorage.removeItem(DRAFT));

// A page from the back-forward cache may show somebody who is logged out.
addEventListener("pageshow", (e) => e.persisted && location.reload());

// A notice belongs to one visit, not to a bookmark.
if (location.search) history.replaceState(null, "", "/");

if (document.documentElement.hasAttribute("data-logged-in")) {
  box.value = sessionStorage.getItem(DRAFT) ?? "";
  sessionStorage.removeItem(DRAFT);
  grow();
  if (matchMedia("(pointer: fine)").matches || box.value) box.focus();
}
