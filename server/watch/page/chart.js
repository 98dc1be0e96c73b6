// The chart: every experiment, the best so far, hover, click, zoom, and a scale that stretches near the best.
let G = { points: [] };
const stage = $("stage");
let room = 0; // width of the stage: to ask for it while the page changes would lay out the page once more
let font = "";
function measure() { // while the first answer is on its way
  $("main").hidden = false;
  room = stage.clientWidth;
  font = getComputedStyle(stage).fontFamily;
  $("main").hidden = true;
}

function frame(seen, kept, from, to) { // what the value axis must show: the best line and most of what is near it
  const sigma = D.noise?.sigma ?? 0, sign = -metric().sign, at = row => sign * place(shown(row)); // here lower is better
  const held = kept.filter((row, i) => row.number <= to && (kept[i + 1]?.number ?? Infinity) >= from).map(at);
  const values = seen.filter(row => shown(row) != null).map(at).concat(held);
  return values.length ? { ...range(values, held, sigma), sign } : null;
}

function plot() {
  if (room < 120) return; // it is not shown
  const width = room, phone = width < 560, height = !rows.length ? 150 : phone ? 270 : Math.round(Math.min(440, Math.max(320, innerHeight * .44)));
  const L = 58, R = phone ? 12 : 22, T = 26, B = 26;
  const list = rows.filter(row => row.kind !== "refused" && row.comparable), first = list[0]?.number ?? 1, end = Math.max(list.at(-1)?.number ?? 1, first + 5);
  const a = view.from ?? first, b = view.to ?? end, kept = list.filter(row => row.kind === "kept" && shown(row) != null), seen = list.filter(row => row.number >= a && row.number <= b);
  const svg = put("plot");
  svg.setAttribute("width", width);
  svg.setAttribute("height", height);
  legend(list);
  const F = frame(seen, kept, a, b);
  G = { a, b, first, end, L, R, width, height, points: [] };
  if (!F) { svg.append(s("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, D.rows.number.length ? "Nothing with a score here." : "The first dot is the baseline.")); zoom(false, 0); return; }
  const far = F.span > 30 * F.least, bend = view.bend ?? far, unit = 4 * F.least, edge = F.best - (far ? 1.4 * F.least : .06 * F.span), top = F.worst + .07 * F.span;
  const warp = bend ? v => Math.asinh((v - edge) / unit) : v => v, share = v => (warp(v) - warp(edge)) / (warp(top) - warp(edge)); // 0 best, 1 worst
  const tall = height - T - B - 8, up = F.sign < 0; // a higher value is drawn higher, whichever is better
  const y = value => { const part = share(F.sign * place(value)); return T + 8 + (up ? part : 1 - part) * tall; };
  const x = n => L + (n - a) / (b - a || 1) * (width - L - R), wall = up ? height - B - 2 : T + 2;
  Object.assign(G, { x, y });
  axes(svg, { x, y, F, bend, edge, top, up });
  const clip = s("clipPath", { id: "clip" }, s("rect", { x: L - 8, y: 0, width: width - L - R + 16, height: height - B + 5 }));
  const below = s("g", { "clip-path": "url(#clip)" }), above = s("g", { "clip-path": "url(#clip)" });
  svg.append(clip, below, above);
  steps(below, kept, x, y, b);
  let dots = "", crosses = "", outside = "";
  G.points = seen;
  for (const row of seen) {
    const value = shown(row), px = x(row.number), off = value != null && F.sign * place(value) > top;
    const py = value == null ? (row.kind === "running" ? y(D.headline?.best.value ?? valueAt(F.sign * F.best)) : 13) : off ? wall : y(value);
    row.px = px;
    row.py = py;
    if (row.kind === "failed") crosses += `M${px - 3.6},${py - 3.6}l7.2,7.2m0,-7.2l-7.2,7.2`;
    else if (off) outside += up ? `M${px},${py + 2}l4,-7h-8z` : `M${px},${py - 4}l4,7h-8z`;
    else if (row.kind === "discarded") dots += `M${Math.round(px * 10)},${Math.round(py * 10)}h0`; // one element for ten thousand dots, in tenths
  }
  below.append(s("path", { class: "dots", transform: "scale(.1)", d: dots }), s("path", { class: "d-discarded", d: outside }), s("path", { class: "d-failed", d: crosses }));
  if (crosses) svg.append(s("text", { x: L - 8, y: 17, "text-anchor": "end" }, "failed"));
  const small = kept.length > 90 ? 2.8 : phone ? 4 : 5;
  for (const row of seen) {
    const { px, py } = row;
    if (row.kind === "discarded" || row.kind === "failed") continue;
    if (row.kind === "kept" && row.value_error != null) above.append(s("path", { class: "err", d: `M${px},${y(valueAt(place(shown(row)) + row.value_error))}V${y(valueAt(place(shown(row)) - row.value_error))}` }));
    above.append(mark(look(row), px, py, row.kind === "kept" ? small : 4.6));
  }
  G.under = svg.appendChild(s("g"));
  names(svg.appendChild(s("g")), kept, x, y, phone); // not cut off at the edge, as marks are
  G.over = svg.appendChild(s("g"));
  zoom(bend, F.span);
  hint();
}

function axes(svg, { x, y, F, bend, edge, top }) {
  const values = [valueAt(F.sign * edge), valueAt(F.sign * top)].sort((p, q) => p - q), { L, R, width, height, a, b } = G, found = [];
  const enough = v => found.every(o => Math.abs(y(+o) - y(+v)) > 34);
  if (!bend && metric().scale !== "log") found.push(...ticks(values[0], values[1], height / 64));
  else for (let parts = 2; parts <= 90; parts *= 1.6) for (const v of ticks(values[0], values[1], parts)) if (+v > values[0] && +v < values[1] && enough(v)) found.push(v);
  const places = Math.max(0, ...found.map(v => (v.split(".")[1] ?? "").length));
  const label = v => Math.abs(+v) >= 1e5 || places > 6 ? digits(+v, 4) : (+v).toFixed(places);
  svg.append(...found.flatMap(v => [s("path", { class: "grid", d: `M${L},${y(+v)}H${width - R}` }), s("text", { x: L - 8, y: y(+v) + 4, "text-anchor": "end" }, minus(label(v)))]),
    ...ticks(a, b, Math.min(b - a, width / 80)).filter(v => Number.isInteger(+v)).map(v => s("text", { x: x(+v), y: height - 6, "text-anchor": "middle" }, v)));
}

function steps(at, kept, x, y, b) { // the best so far, in a band of the noise
  const sigma = D.noise?.sigma ?? 0;
  let line = "", upper = "", lower = "";
  kept.forEach((row, i) => {
    const from = x(row.number), to = x(kept[i + 1]?.number ?? b), p = place(shown(row));
    line += `${i ? "H" : "M"}${from.toFixed(1)}${i ? "V" : ","}${y(shown(row)).toFixed(1)}`;
    upper += `${i ? "L" : "M"}${from.toFixed(1)},${y(valueAt(p + sigma)).toFixed(1)}H${to.toFixed(1)}`;
    lower = `L${to.toFixed(1)},${y(valueAt(p - sigma)).toFixed(1)}H${from.toFixed(1)}` + lower;
  });
  if (kept.length) at.append(s("path", { class: "band", d: upper + lower + "Z" }), s("path", { class: "best", d: `${line}H${x(b).toFixed(1)}` }));
}

let pen;
function breadth(text, weight = 400) { // of a name: a canvas measures without laying the page out
  pen ??= new OffscreenCanvas(1, 1).getContext("2d");
  pen.font = `${weight} 11.5px ${font}`;
  return pen.measureText(text).width;
}
function after(px) { // the place of the first point that is not left of it
  let low = 0, high = G.points.length;
  while (low < high) { const mid = low + high >> 1; if (G.points[mid].px < px) low = mid + 1; else high = mid; }
  return low;
}
function names(at, kept, x, y, phone) { // the largest gains that are sure, where they cover no mark, no line and no other name
  const taken = [], told = kept.filter(row => row.change != null && row.standing !== "noise" && row.number >= G.a && row.number <= G.b);
  kept.forEach((row, i) => {
    const py = y(shown(row)), next = kept[i + 1], to = next ? x(next.number) : G.width - G.R, below = next ? y(shown(next)) : py;
    taken.push([x(row.number), py, to, py], [to, Math.min(py, below), to, Math.max(py, below)]);
  });
  for (const row of told.sort((p, q) => metric().sign * (q.change - p.change)).slice(0, phone ? 4 : 9)) for (const most of phone ? [24, 0] : [44, 24, 0]) {
    const text = most ? clean(row.description.replace(/\s*\(.*/, ""), most) + " " : "", gain = change(row.change), { px, py } = row, w = breadth(text) + breadth(gain, 600) + 2;
    const near = G.points.slice(after(px - w - 20), after(px + w + 20)).filter(p => Math.abs(p.py - py) < 45).map(p => [p.px - 4, p.py - 4, p.px + 4, p.py + 4]).concat(taken);
    const free = ([l, t]) => l > G.L && l + w < G.width && t > 12 && t < G.height - 39 && !near.some(o => o[0] < l + w + 2 && l - 2 < o[2] && o[1] < t + 16 && t + 1 < o[3]);
    const spot = [-21, 6, -7].flatMap(rise => [[Math.min(px + 9, G.width - w - 1), py + rise], [px - 11 - w, py + rise]]).find(free);
    if (!spot) continue;
    const [l, t] = spot;
    taken.push([l, t, l + w, t + 17]);
    at.append(s("text", { class: "name", x: l, y: t + 12 }, text, s("tspan", {}, gain)));
    break;
  }
}

function legend(list) {
  if (!rows.length) return put("legend");
  const C = D.counts, n = { queued: 0 };
  for (const row of list) { n[row.kind] = (n[row.kind] ?? 0) + 1; n.queued += row.verdict === "queued"; }
  const count = kind => n[kind] ?? 0, { queued } = n;
  const entry = (what, n, text) => n > 0 && h("span", {}, icon(what), h("b", {}, n), ` ${text}`);
  const band = D.noise && h("span", {}, s("svg", { viewBox: "0 0 14 12", "aria-hidden": "true" }, s("rect", { class: "band", width: 14, height: 12 }), s("path", { class: "best", d: "M0,6H14" })), `best so far, ± σ of one run (${size(D.noise.sigma)})`);
  const old = rows.length - list.length - C.refused;
  put("legend", entry("sure", C.sure, "kept"), entry("noise", C.noise, "kept, within the noise"), entry("provisional", C.provisional, "kept, provisional"), entry("discarded", count("discarded"), "discarded"), entry("failed", count("failed"), "failed"), entry("open", count("open"), "open"), entry("running", count("running") - queued, "running"), entry("running", queued, "queued"), entry("revoked", C.revoked, "revoked"), band,
    h("span", {}, `${metric().name}${metric().unit ? ` in ${metric().unit}` : ""}, ${metric().direction} is better`), old > 0 && h("span", {}, `${old} of an earlier measurement are not shown`));
}

function zoom(bend, room) {
  const part = (text, from, to) => h("button", { class: "btn", "aria-pressed": String(view.from === from && view.to === to), onclick: () => { view.from = from; view.to = to; plot(); } }, text);
  const { first, end } = G, late = Math.round(first + (end - first) * .25), last = Math.max(first, end - 40), many = end - first > 12;
  const own = view.from !== null && ![late, last].includes(view.from) || view.to !== null;
  put("zoom", many && [part("All", null, null), part("Without the start", late, null), end - first > 60 && part("Last 40", last, null), own && part("Zoomed", view.from, view.to)],
    room > 0 && h("button", { class: "btn", "aria-pressed": String(bend), title: "Stretch the scale near the best, in units of the noise", onclick: () => { view.bend = !bend; plot(); } }, "Stretch"));
}

function hint() { // the chosen one, the one under the pointer, and its card
  const tip = $("tip"), over = G.over;
  if (!over) { tip.hidden = true; return; }
  over.replaceChildren();
  G.under.replaceChildren();
  const chosen = G.points.find(p => p.number === view.number), p = hover && G.points.find(q => q.number === hover);
  if (chosen) {
    G.under.append(s("path", { class: "hair", d: `M${chosen.px},26V${G.height - 26}` })); // below the names
    over.append(s("circle", { class: "ring", cx: chosen.px, cy: chosen.py, r: 8 }));
  }
  tip.hidden = !p;
  if (!p) return;
  over.append(s("circle", { class: "ring", cx: p.px, cy: p.py, r: 8 }));
  put(tip, h("div", {}, h("b", {}, `#${p.number} ${name(p)} `), p.value != null && num(shown(p)), p.change != null && h("span", { class: better(p.change) ? "green" : "soft" }, ` ${change(p.change)}${p.error != null ? ` ± ${size(p.error)}` : ""}`)),
    h("div", { class: "text" }, clean(p.description, 140)), p.runs > 1 && h("div", { class: "soft" }, `${p.runs} runs`));
  const above = p.py - tip.offsetHeight - 14;
  tip.style.left = `${Math.max(0, Math.min(p.px - tip.offsetWidth / 2, G.width - tip.offsetWidth))}px`;
  tip.style.top = `${above < 0 ? p.py + 16 : above}px`;
}

let drag = null;
const inside = event => { const { left, top } = $("plot").getBoundingClientRect(); return [event.clientX - left, event.clientY - top]; };
const numberAt = px => G.a + (px - G.L) / (G.width - G.L - G.R) * (G.b - G.a);
function nearest(event) {
  const [px, py] = inside(event);
  let best = null, least = 36 ** 2;
  for (const p of G.points) { const d = (p.px - px) ** 2 + (p.py - py) ** 2; if (d < least) { least = d; best = p; } }
  return best?.number ?? null;
}
function zoomTo(from, to) {
  view.from = Math.max(G.first, Math.floor(from));
  view.to = Math.min(G.end, Math.ceil(to));
  if (view.to - view.from < 3 || view.from <= G.first && view.to >= G.end) view.from = view.to = null;
  plot();
}
stage.addEventListener("pointerdown", event => { if (event.pointerType === "mouse" && event.button === 0) drag = inside(event)[0]; });
stage.addEventListener("pointermove", event => {
  const px = inside(event)[0];
  if (drag != null && G.over && Math.abs(px - drag) > 6) {
    hover = null;
    hint();
    G.over.append(s("rect", { class: "brush", x: Math.min(px, drag), y: 20, width: Math.abs(px - drag), height: G.height - 46 }));
    stage.setPointerCapture(event.pointerId);
  } else { hover = nearest(event); hint(); }
});
stage.addEventListener("pointerup", event => {
  const from = drag, px = inside(event)[0];
  drag = null;
  if (from != null && Math.abs(px - from) > 12) return zoomTo(...[numberAt(from), numberAt(px)].sort((p, q) => p - q));
  const found = nearest(event);
  if (found != null) { hover = found; choose(found); }
});
stage.addEventListener("pointerleave", () => { if (drag == null) { hover = null; hint(); } });
stage.addEventListener("pointercancel", () => { drag = null; });
stage.addEventListener("dblclick", () => { view.from = view.to = null; plot(); });
stage.addEventListener("wheel", event => { // with ctrl, as a pinch is told: the page scrolls otherwise
  if (!event.ctrlKey && !event.metaKey || !G.over) return;
  event.preventDefault();
  const at = numberAt(inside(event)[0]), f = event.deltaY > 0 ? 1.25 : .8;
  zoomTo(at - (at - G.a) * f, at + (G.b - at) * f);
}, { passive: false });
stage.addEventListener("keydown", event => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key], hop = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (event.key === "Enter" && view.number) { choose(view.number); return; }
  const list = hop ? rows.filter(row => row.kind === "kept") : rows, at = list.findIndex(row => row.number >= view.number);
  const next = step || hop ? list[Math.max(0, Math.min(list.length - 1, (at < 0 ? list.length : at) + (step ?? hop)))] : event.key === "Home" ? list[0] : event.key === "End" ? list.at(-1) : null;
  if (!next) return;
  event.preventDefault();
  hover = next.number;
  choose(next.number, false);
});
stage.addEventListener("blur", () => { hover = null; hint(); });
let wide = 0;
new ResizeObserver(() => {
  if (!D) return;
  room = stage.clientWidth;
  if (room === G.width && wide === innerWidth) return; // it was drawn like this
  if (room !== G.width) plot();
  if (wide && wide !== innerWidth) { running(); const found = details.get(view.number); if (found) draw(byNumber[view.number], found); } // loss curves are as wide as their cards
  wide = innerWidth;
}).observe(stage);
