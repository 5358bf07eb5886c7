// Markdown for people who do not trust the author.
//
// The text comes from an agent, which may repeat a document that somebody wrote
// to do harm. So the tree is built from elements of a fixed list and from text
// nodes: no string is ever parsed as HTML, no image or other resource is
// loaded, and a link shows where it goes. What is not understood stays as it
// is written. Every loop moves forward; the cost is linear in the text.

const FENCE = /^ {0,3}(`{3,}|~{3,})[^`~]*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*)$/;
const RULE = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;
const ITEM = /^( {0,12})([-*+•]|\d{1,9}[.)、])\s+(.*)$/;
const QUOTE = /^ {0,3}> ?(.*)$/;
const ROW = /^\s*\|(.+)\|\s*$/;
const ROW_LINE = /^\s*\|(\s*:?-+:?\s*\|)+\s*$/;

function make(tag, ...children) {
  const node = document.createElement(tag);
  node.append(...children);
  return node;
}

// render returns a fragment that shows text.
export function render(text) {
  const out = document.createDocumentFragment();
  blocks(text.replace(/\r\n?/g, "\n").split("\n"), out, 0);
  return out;
}

// blocks appends the block structure of lines to out. depth bounds quotes in
// quotes.
function blocks(lines, out, depth) {
  let paragraph = [];
  const flush = () => {
    if (paragraph.length) out.append(inlineLines("p", paragraph));
    paragraph = [];
  };
  for (let i = 0; i < lines.length; ) {
    const line = lines[i];
    let m;
    if (!line.trim()) {
      flush();
      i++;
    } else if ((m = FENCE.exec(line))) {
      flush();
      const code = [];
      for (i++; i < lines.length && !isFenceEnd(lines[i], m[1]); i++) code.push(lines[i]);
      i++;
      const pre = make("pre", make("code", code.join("\n")));
      pre.tabIndex = 0; // it may scroll, and so must be reachable by keyboard
      out.append(pre);
    } else if ((m = HEADING.exec(line))) {
      flush();
      out.append(inlineLines("h" + Math.min(m[1].length + 2, 6), [heading(m[2])]));
      i++;
    } else if (RULE.test(line)) {
      flush();
      out.append(make("hr"));
      i++;
    } else if (QUOTE.test(line) && depth < 4) {
      flush();
      const inner = [];
      for (; i < lines.length && (m = QUOTE.exec(lines[i])); i++) inner.push(m[1]);
      const quote = make("blockquote");
      blocks(inner, quote, depth + 1);
      out.append(quote);
    } else if (ROW.test(line) && ROW_LINE.test(lines[i + 1] ?? "")) {
      flush();
      i = table(lines, i, out);
    } else if (ITEM.test(line)) {
      flush();
      i = list(lines, i, out);
    } else {
      paragraph.push(line.trim());
      i++;
    }
  }
  flush();
}

// heading drops a closing run of #, which stands behind a space: "C#" has none.
function heading(text) {
  const cut = withoutTail(text, "#");
  return cut.endsWith(" ") ? cut.trimEnd() : text.trimEnd();
}

// withoutTail cuts characters of the set off the end of text. A pattern that
// does this tries every start in a long run of them.
function withoutTail(text, set) {
  let end = text.length;
  while (end > 0 && set.includes(text[end - 1])) end--;
  return text.slice(0, end);
}

function isFenceEnd(line, fence) {
  const end = line.trim();
  return end.length >= fence.length && end === fence[0].repeat(end.length);
}

// list reads items from line i on and returns the line behind them. Deeper
// indentation nests, shallower closes.
function list(lines, i, out) {
  const open = []; // {indent, node, ordered}
  let item = null;
  for (; i < lines.length; i++) {
    const m = ITEM.exec(lines[i]);
    if (!m) {
      if (!lines[i].trim()) {
        if (!ITEM.test(lines[i + 1] ?? "")) break;
        continue;
      }
      if (!/^\s{2,}/.test(lines[i])) break;
      item.append(document.createElement("br"));
      inline(lines[i].trim(), item);
      continue;
    }
    const indent = m[1].length;
    const ordered = /\d/.test(m[2]);
    while (open.length > 1 && indent < open.at(-1).indent) open.pop();
    let top = open.at(-1);
    if (!top || indent > top.indent + 1) {
      const node = make(ordered ? "ol" : "ul");
      if (ordered && parseInt(m[2], 10) > 1) node.start = parseInt(m[2], 10);
      (item ?? out).append(node);
      open.push((top = { indent, node, ordered }));
    } else if (top.ordered !== ordered && open.length === 1) {
      break; // another kind of list begins
    }
    item = make("li");
    inline(m[3], item);
    top.node.append(item);
  }
  return i;
}

function table(lines, i, out) {
  const cells = (line, tag) => {
    const row = make("tr");
    for (const cell of ROW.exec(line)[1].split("|")) row.append(inlineLines(tag, [cell.trim()]));
    return row;
  };
  const body = make("tbody");
  const head = make("thead", cells(lines[i], "th"));
  for (i += 2; i < lines.length && ROW.test(lines[i]); i++) body.append(cells(lines[i], "td"));
  const wrap = make("div", make("table", head, body));
  wrap.className = "table";
  wrap.tabIndex = 0;
  out.append(wrap);
  return i;
}

function inlineLines(tag, lines) {
  const node = make(tag);
  lines.forEach((line, i) => {
    if (i) node.append(document.createElement("br"));
    inline(line, node);
  });
  return node;
}

// Each alternative is bounded and excludes its own delimiter, so that a long
// line without a partner cannot make the search quadratic.
const INLINE =
  /`([^`\n]{1,500})`|\*\*([^*\n]{1,500})\*\*|(?<![*\w])\*([^*\s][^*\n]{0,500})\*(?!\w)|~~([^~\n]{1,500})~~|\[([^[\]\n]{1,300})\]\((https?:\/\/[^\s()<>]{1,2000})\)|(https?:\/\/[^\s<>"'`，。；：！？、）》」』】“”‘’*|]{1,2000})/g;

// inline appends one line's text to node.
function inline(text, node) {
  let last = 0;
  for (const m of text.matchAll(INLINE)) {
    node.append(text.slice(last, m.index));
    last = m.index + m[0].length;
    if (m[1] !== undefined) node.append(make("code", m[1]));
    else if (m[2] !== undefined) node.append(nested("strong", m[2]));
    else if (m[3] !== undefined) node.append(nested("em", m[3]));
    else if (m[4] !== undefined) node.append(make("del", m[4]));
    else if (m[6] !== undefined) node.append(...link(m[6], m[5]));
    else {
      const url = withoutTail(m[7], ".,;:!?)]}");
      last = m.index + url.length;
      node.append(...link(url, url));
    }
  }
  node.append(text.slice(last));
}

// nested is emphasis that may hold code, links and the like, one level deep.
function nested(tag, text) {
  const node = make(tag);
  if (/[`[]|https?:/.test(text)) inline(text.replaceAll("*", ""), node);
  else node.append(text);
  return node;
}

// link returns the nodes for a link. When its text is not the address itself
// the host stands beside it, so that no text can claim to lead elsewhere.
function link(address, text) {
  let url;
  try {
    url = new URL(address);
  } catch {
    return [text];
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") return [text];
  const a = make("a", text);
  a.href = url.href;
  a.target = "_blank";
  a.rel = "noopener noreferrer nofollow";
  if (text === address) return [a];
  const host = make("span", " (" + url.host + ")");
  host.className = "host";
  return [a, host];
}
