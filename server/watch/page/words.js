// What an experiment is called, and its mark.
const NAMES = { sure: "kept", noise: "kept, within the noise", provisional: "kept, provisional", baseline: "baseline" };
const SHORT = { sure: "kept", noise: "kept, in noise", provisional: "kept, prov.", baseline: "baseline" };
const look = row => row.standing || row.kind;
const name = row => NAMES[row.standing] ?? said(row.verdict);
const short = row => SHORT[row.standing] ?? name(row);
const tone = row => row.kind === "kept" ? "green" : ["failed", "revoked", "refused"].includes(row.kind) ? "red" : row.kind === "running" ? "blue" : row.kind === "open" ? "amber" : "";
// What is drawn of a row: what was kept by the runs that did not select it, where there are any.
const shown = row => row.again ?? row.value;
const isBaseline = row => row.standing === "baseline";

function mark(what, x, y, r = 4.6) {
  if (what === "revoked") return s("path", { class: "d-revoked", d: `M${x - 4},${y}a4,4 0 1 0 8,0a4,4 0 1 0 -8,0M${x - 3},${y + 3}l6,-6` });
  const [tag, where] = shape(what, x, y, r);
  return s(tag, { class: `d-${what}`, ...where });
}
const icon = what => s("svg", { width: 14, height: 12, viewBox: "0 0 14 12", "aria-hidden": "true" }, mark(what, 7, 6, 4.2));
const go = (number, text) => h("button", { class: "link text", onclick: () => choose(number) }, text ?? `#${number}`);

// How long ago an experiment ended, by the server's clock when it was told, and this machine's steady one since.
let toldAt = 0, nowAt = 0;
const passed = since => (performance.now() - since) / 1000;
function ago(row) {
  if (row.kind === "running") return "now";
  const t = D.quiet + passed(toldAt) + D.study.elapsed - row.started - (row.seconds ?? 0);
  if (t < 60) return "just now";
  if (t < 5400) return `${Math.round(t / 60)} min ago`;
  return t < 172800 ? `${Math.round(t / 3600)} h ago` : `${Math.round(t / 86400)} d ago`;
}

// The change, its error, and the noise: a line of a forest plot.
function forest(row, width = 110, far = 5 * (D.noise?.sigma || Math.abs(row.change) || 1)) {
  const x = v => width / 2 + Math.max(-1, Math.min(1, v / far)) * (width / 2 - 5);
  const sigma = D.noise?.sigma ?? 0, error = row.error ?? 0, value = row.change, out = Math.abs(value) > far;
  const color = row.kind === "kept" ? "var(--green)" : row.verdict === "worse" ? "var(--red)" : "var(--grey)";
  const [a, b] = [x(-sigma), x(sigma)].sort((p, q) => p - q), [c, d] = [x(value - error), x(value + error)].sort((p, q) => p - q);
  return s("svg", { class: "forest", width, height: 14, viewBox: `0 0 ${width} 14`, "aria-hidden": "true" },
    s("rect", { x: a, width: b - a, height: 14, class: "noise" }), s("path", { class: "grid", d: `M${width / 2},0V14` }),
    out ? s("path", { d: x(value) > width / 2 ? `M${width - 7},3l6,4l-6,4z` : "M7,3l-6,4l6,4z", fill: color })
      : [s("path", { d: `M${c},7H${d}`, stroke: color, "stroke-width": 1.5 }), s("circle", { cx: x(value), cy: 7, r: 3.5, fill: color })]);
}

// A run's loss over the incumbent's, and how far they are apart.
function curves(mine, theirs, gap, { budget = 0, width = 360, height = 110 } = {}) {
  const end = Math.max(mine.at(-1)?.[0] ?? 0, theirs.at(-1)?.[0] ?? 0, budget || 0) || 1, late = p => p[0] > end * .08;
  const seen = [...mine, ...theirs].filter(late).map(p => p[1]).sort((p, q) => p - q);
  if (!seen.length) return h("p", { class: "soft small" }, "No loss yet.");
  const low = seen[0], high = seen[Math.floor((seen.length - 1) * .985)], room = (high - low) * .06 || .1, L = 36;
  const y = v => 4 + (high + room - Math.min(v, high + room)) / (high - low + 2 * room) * (height - 22), x = t => L + t / end * (width - L - 4);
  const path = curve => curve.filter(late).map((p, at) => `${at ? "L" : "M"}${x(p[0]).toFixed(1)},${y(p[1]).toFixed(1)}`).join("");
  const strip = gap.length > 1 ? 48 : 0, parts = gap.filter(p => p[0] > end * .15), far = Math.max(.005, ...parts.map(p => Math.abs(p[1])));
  const mid = height + strip / 2, g = v => mid + -v / far * (strip / 2 - 6), last = mine.at(-1);
  return h("figure", {}, s("svg", { viewBox: `0 0 ${width} ${height + strip}`, width: "100%", role: "img", "aria-label": "Training loss of this run and of the incumbent" },
    ticks(low, high, 3).map(v => [s("path", { class: "grid", d: `M${L},${y(+v)}H${width}` }), s("text", { x: L - 6, y: y(+v) + 4, "text-anchor": "end" }, v)]),
    s("path", { class: "theirs", d: path(theirs) }), s("path", { class: "mine", d: path(mine) }),
    last && late(last) && s("circle", { cx: x(last[0]), cy: y(last[1]), r: 3, fill: "var(--blue)" }),
    s("text", { x: L, y: height - 3 }, "loss"), s("text", { x: width, y: height - 3, "text-anchor": "end" }, `${theirs.length ? "grey: the incumbent · " : ""}${Math.round(end)} s`),
    strip && parts.length > 1 && [s("path", { class: "grid", d: `M${L},${mid}H${width}` }), s("path", { class: parts.at(-1)[1] < 0 ? "better" : "worse", d: parts.map((p, at) => `${at ? "L" : "M"}${x(p[0]).toFixed(1)},${g(p[1]).toFixed(1)}`).join("") }), s("text", { x: L - 6, y: mid + 4, "text-anchor": "end" }, "gap")]));
}
