// One experiment in depth.
const routed = () => { const n = Number(/^#\/(\d+)$/.exec(location.hash)?.[1] ?? NaN); return byNumber[n] ? n : null; };

function choose(number, open = true) {
  view.number = number;
  hint();
  repaint();
  return show(open);
}
async function show(open) { // what was chosen, in depth
  const { number } = view, row = byNumber[number];
  if (row) {
    for (const [key, value] of Object.entries({ valuemin: rows[0].number, valuemax: rows.at(-1).number, valuenow: number, valuetext: `${number}, ${name(row)}, ${row.value == null ? "no score" : num(row.value)}, ${clean(row.description, 120)}` })) stage.setAttribute(`aria-${key}`, value);
  }
  if (open) {
    if (location.hash !== `#/${number}`) history.pushState(null, "", `#/${number}`);
    shut(false);
  }
  draw(row, details.get(number), true);
  const found = await live.detail(number);
  if (found && view.number === number) draw(byNumber[number], found);
}
function shut(yes) { // the detail covers a small screen: then nothing else can be reached
  const box = $("detail"), opens = !yes && !box.classList.contains("open");
  box.classList.toggle("open", !yes);
  const small = cover();
  if (small && opens) box.focus({ preventScroll: true });
  if (small && yes) stage.focus({ preventScroll: true });
}
function cover() {
  const small = innerWidth <= 1100, over = small && $("detail").classList.contains("open");
  for (const other of document.querySelectorAll(".skip,.bar,main>:not(#detail)")) other.inert = over;
  $("detail").setAttribute("role", over ? "dialog" : "complementary");
  $("detail").setAttribute("aria-modal", String(over));
  return small;
}
addEventListener("resize", cover);
function back() {
  history.replaceState(null, "", location.pathname);
  shut(true);
}
addEventListener("popstate", () => { const n = routed(); if (n) choose(n, false).then(() => shut(false)); else shut(true); });
addEventListener("keydown", event => {
  if (event.key === "Escape" && $("detail").classList.contains("open")) back();
  if (event.key === "/" && !/INPUT|SELECT|TEXTAREA/.test(document.activeElement.tagName)) {
    event.preventDefault();
    document.querySelector("#panel input[type=search]")?.focus();
  }
});

async function copy(text) {
  try { await navigator.clipboard.writeText(text); toast("Copied."); } catch { toast(text); }
}
function draw(row, found, fresh = false) {
  const box = $("detail");
  if (!row) return put(box, h("p", { class: "soft" }, rows.length ? "Choose an experiment." : "Experiments appear here as they are measured."));
  const at = rows.indexOf(row), bare = !box.firstChild, top = fresh || bare ? 0 : box.scrollTop, step = (to, label, sign) => h("button", { class: "btn", "aria-label": label, disabled: !rows[to], onclick: () => choose(rows[to].number) }, sign);
  const sigma = D.noise?.sigma || Math.abs(row.change ?? 0), wide = Math.max(5 * sigma, Math.min(1.3 * Math.abs(row.change ?? 0), 40 * sigma));
  const error = row.error == null ? "" : ` ± ${size(row.error)}`, held = box !== document.activeElement && box.contains(document.activeElement) && document.activeElement.getAttribute("aria-label");
  put(box, h("header", {}, h("h2", { class: "text" }, h("span", { class: "soft" }, `#${row.number} `), clean(row.description, 400)), step(at - 1, "Earlier", "‹"), step(at + 1, "Later", "›"), h("button", { class: "btn", id: "close", "aria-label": "Close", onclick: back }, "✕")),
    h("div", { class: `verdict v-${look(row)}` }, h("b", {}, found ? found.title : capital(name(row))), h("span", { class: "text" }, found ? clean(found.text, 800) : row.change != null ? `${change(row.change)}${error}` : ""), row.change != null && row.comparable && forest(row, 260, wide)),
    found ? parts(row, found) : h("p", { class: "soft" }, live.quiet() ? "Not loaded: no connection." : "Loading…"));
  if (held) (box.querySelector(`[aria-label="${held}"]:not(:disabled)`) ?? box).focus({ preventScroll: true }); // the button is another one now
  if (!bare) box.scrollTop = top; // each look at a place lays the page out
}
function parts(row, found) {
  const against = found.against ?? D.headline?.best.number, block = (title, ...kids) => h("section", {}, h("h3", {}, title), kids);
  const values = [found.first, ...found.repeats.map(run => run.value)], told = found.repeats.length > 0 && [`Runs: ${num(found.first, 1)}`, found.repeats.map(run => `, ${run.value == null ? said(run.outcome) : num(run.value, 1)} (${run.purpose === "confirm" ? "again" : "beside a candidate"})`)];
  return [found.disturbance && h("p", { class: "amber text" }, clean(found.disturbance, 300)),
    found.hypothesis && block("Hypothesis", h("p", { class: "text" }, clean(found.hypothesis, 3000))),
    found.source && h("p", { class: "soft small text" }, "Source: ", clean(found.source, 600)),
    found.agent && h("p", { class: "soft small text" }, "Asked for by ", clean(found.agent, 60)),
    found.diff.length > 0 && block(row.change == null || found.against == null ? "Change" : ["Change against ", go(found.against)], diff(found)),
    found.traceback && block("Traceback", h("pre", { class: "log", tabindex: 0, "aria-label": "Traceback" }, clean(found.traceback, 6000))),
    found.curve.length > 2 && block("Loss", curves(found.curve, found.against_curve, found.gap, { width: Math.max(280, $("detail").clientWidth - 38) })),
    found.figures.length > 0 && block(["Figures", found.against ? [", and the change to ", go(against)] : ""], figures(found)),
    found.repeats.length > 0 && h("p", { class: "soft small" }, told),
    found.warnings.map(text => h("p", { class: "amber small text" }, clean(text, 300))),
    found.why && h("p", { class: "soft small text" }, "Judged at the time: ", clean(found.why, 1200)),
    found.reason && h("p", { class: "soft small text" }, `${row.kind === "kept" ? "Kept" : "Decided"}: `, clean(found.reason, 600)),
    found.trust && h("p", { class: "soft small" }, `Trust: ${found.trust}. Seed ${found.seed}.${found.node ? ` Node ${found.node}.` : ""}`),
    h("div", { class: "row" }, h("button", { class: "btn", onclick: () => copy(found.commit), title: found.commit }, `Copy commit ${found.commit.slice(0, 7)}`), row.kind !== "kept" && found.diff.length > 0 && h("button", { class: "btn", onclick: () => copy(`apply_patch(experiment=${row.number})`) }, "Copy apply_patch")),
    found.log && h("details", {}, h("summary", {}, "The end of its log"), h("pre", { class: "log", tabindex: 0, "aria-label": "Log" }, clean(found.log, 8000)))];
}

const FIRST = ["tokens_per_second", "steps", "mfu", "parameters", "peak_memory_mb", "loss", "training_seconds", "evaluation_seconds", "total_seconds"];
const LABELS = { tokens_per_second: "tokens/s", mfu: "MFU", peak_memory_mb: "peak memory, MB", training_seconds: "training, s", evaluation_seconds: "evaluation, s", total_seconds: "in all, s", ms_per_step: "ms a step", weights_mb: "weights, MB" };
const amount = v => Number.isInteger(v) ? grouped(v) : Math.abs(v) >= 1000 ? grouped(Math.round(v)) : String(Number(v.toPrecision(4)));
function figures(found) {
  const line = one => [h("dt", { class: "text" }, clean(LABELS[one.name] ?? said(one.name), 60)), h("dd", {}, minus(amount(one.value))), h("dd", { class: "soft" }, minus(one.change))];
  const first = FIRST.map(id => found.figures.find(one => one.name === id)).filter(Boolean), rest = found.figures.filter(one => !FIRST.includes(one.name));
  const shown0 = first.length ? first : rest.slice(0, 8), hidden = first.length ? rest : rest.slice(8);
  return [h("dl", { class: "figs" }, found.value != null && [h("dt", {}, metric().name), h("dd", {}, num(found.value, 1)), h("dd", { class: "soft" }, found.change == null ? "" : change(found.change, 1))], shown0.map(line)),
    hidden.length > 0 && h("details", { style: { "margin-top": "6px" } }, h("summary", {}, plural(hidden.length, "more figure")), h("dl", { class: "figs" }, hidden.map(line)))];
}

// Colours for what looks like code; a very long line is left plain.
const TOKEN = /((?:#|\/\/).*$)|("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|\b(and|as|assert|async|await|break|case|class|const|continue|def|del|do|elif|else|except|False|final|finally|for|from|function|if|import|in|int|is|lambda|let|None|not|or|pass|raise|return|self|static|struct|switch|True|try|void|while|with|yield)\b|\b(\d[\d_.]*(?:e[+-]?\d+)?)\b/g;
function code(text) {
  if (text.length > 400) return [text];
  const out = [];
  let at = 0;
  for (const m of text.matchAll(TOKEN)) {
    if (m.index > at) out.push(text.slice(at, m.index));
    out.push(h("span", { class: m[1] ? "t-c" : m[2] ? "t-s" : m[3] ? "t-k" : "t-n" }, m[0]));
    at = m.index + m[0].length;
  }
  out.push(text.slice(at));
  return out;
}
const LINES = { "+": "add", "-": "del", "@": "at", file: "file", " ": "" };
function diff(found) {
  const files = found.diff.filter(one => one.kind === "file").length;
  if (files === found.diff.length) return h("p", { class: "soft text" }, found.diff.map(one => clean(one.text, 400)).join(" "));
  const lines = found.diff.filter(one => files > 1 || one.kind !== "file").map(({ kind, text, marks }) => {
    const sign = kind === "@" || kind === "file" ? "" : kind;
    if (!marks.length) return h("div", { class: LINES[kind] }, sign, kind === "@" || kind === "file" ? text : code(text));
    const out = [];
    let at = 0;
    for (const [from, to] of marks) {
      if (from > at) out.push(code(text.slice(at, from)));
      out.push(h("mark", {}, text.slice(from, to)));
      at = to;
    }
    return h("div", { class: LINES[kind] }, sign, out, code(text.slice(at)));
  });
  return [h("pre", { class: "diff", tabindex: 0, "aria-label": "Diff" }, lines), found.diff_cut > 0 && h("p", { class: "soft small" }, `${grouped(found.diff_cut)} more lines: git show ${found.commit.slice(0, 12)}`)];
}
