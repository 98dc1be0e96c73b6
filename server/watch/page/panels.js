// The top of the page, and the tabs below the chart.
const STATES = { running: "running", idle: "waits for the agent", paused: "paused", stopped: "stopped", over: "over", off: "no server", hangs: "server hangs", empty: "nothing measured yet" };

function head() {
  const S = D.study, lost = live.quiet();
  $("state").hidden = false;
  $("report").hidden = !rows.length;
  const asked = S.state === "running" && S.asked ? (S.asked === "pause" ? "pauses after this run" : "stops after this run") : "";
  const pill = { class: `pill ${lost ? "lost" : asked ? "asked" : S.state}`, title: clean(S.why, 300) };
  for (const key in pill) if ($("state").getAttribute(key) !== pill[key]) $("state").setAttribute(key, pill[key]);
  put($("state").lastElementChild, lost ? live.silence() : asked || STATES[S.state] || S.state);
  put("tag", S.tag);
  if ($("tag").title !== clean(S.task, 200)) $("tag").title = clean(S.task, 200);
  const more = D.now ? D.quiet + passed(toldAt) : 0;
  put("since", S.started ? span(S.elapsed + more) : "");
  const title = D.headline ? `${num(D.headline.best.value)} (${change(D.headline.change)}) · ${S.tag}` : `${S.tag} · autoresearch`;
  if (document.title !== title) document.title = title;
}

function controls() { // rebuilt only when they differ, so that the focus stays
  const S = D.study, lost = live.quiet(), key = [S.asked, S.state, lost, live.csrf !== "", rows.length > 0].join();
  if (controls.key === key) return;
  controls.key = key;
  const button = (text, word, sure) => h("button", { class: "btn", "data-word": word, disabled: lost || !live.csrf || !rows.length, onclick: () => (!sure || confirm(sure)) && live.ask(word) }, text);
  const resume = button("Resume", "resume"), pause = button("Pause", "pause"), end = S.state === "running";
  const stop = button(end ? "Stop after run" : "Stop", "stop"), now = button("Stop now", "stop-now", "End the current run, and start no other?");
  put("controls", S.asked ? resume : pause, S.asked !== "stop" && stop, S.asked === "stop" && end && now);
}

function headline() {
  const H = D.headline, C = D.counts, unit = metric().unit;
  if (!H) {
    put("head", h("span", {}, rows.length ? "No baseline yet" : "Nothing measured yet"));
    put("change", "");
    put("sure", rows.length ? "The baseline has no score so far." : "The page follows the study as soon as it begins.");
  } else {
    const same = H.baseline.number === H.best.number;
    put("head", !same && [h("span", {}, `${num(H.baseline.value)} →`), " "], h("b", {}, num(H.best.value), unit && h("small", {}, ` ${unit}`)));
    const share = H.percent != null && metric().scale !== "log" ? `, ${plus(minus(H.percent.toFixed(1)))} %` : "";
    put("change", same ? h("span", { class: "soft" }, `the baseline, in ${metric().name}`) : [h("span", { class: H.better ? "green" : "amber" }, `${change(H.change)}${H.error != null ? ` ± ${size(H.error)}` : ""}`), h("span", { class: "soft" }, ` ${metric().name}${share}`)]);
    const best = `${num(H.best.value)}${H.best.error != null ? ` ± ${size(H.best.error)}` : ""}`;
    put("sure", same ? `${best} by ${plural(H.best.runs, "run")}; nothing better was kept so far.`
      : H.provisional ? [h("b", { class: "amber" }, "Provisional value: "), `not measured again since it was kept; the best single score was ${num(H.single.value)}.`]
        : `${best}, measured again by ${plural(H.best.runs, "run")}; the best single score was ${num(H.single.value)}.`);
  }
  latest();
  put("limits", D.limits.map(limit => h("div", {}, h("span", {}, limit.name), h("span", {}, limit.told), limit.share != null && h("div", { class: "meter quiet", role: "img", "aria-label": `${limit.name}: ${limit.told}` }, h("i", { style: { width: `${100 * limit.share}%` } })))));
  const fact = (label, value, more) => h("div", {}, h("dt", {}, label), h("dd", {}, value, more && h("small", {}, ` ${more}`)));
  const parts = [C.sure && `${C.sure} sure`, C.noise && `${C.noise} in the noise`, C.provisional && `${C.provisional} provisional`].filter(Boolean).join(", ");
  const bill = D.bill?.cost_usd != null ? `agent $${D.bill.cost_usd.toFixed(2)}` : "";
  put("facts", fact("experiments", C.experiments, `${C.runs} runs`), fact("kept", C.kept, parts), fact("failed", C.failed), fact("since a keep", C.since_keep), fact("time of runs", duration(D.spent.seconds), bill));
}

function latest() {
  const over = rows.filter(row => row.kind !== "running"), recent = over.slice(-4).reverse(), kept = over.findLast(row => row.kind === "kept");
  if (kept && !recent.includes(kept)) recent[3] = kept;
  $("recent").parentElement.hidden = !recent.length;
  put("recent", recent.map(row => h("li", {}, h("button", { onclick: () => choose(row.number) }, icon(look(row)), h("span", { class: "soft" }, `#${row.number}`), h("span", { class: "text one" }, clean(row.description, 120)),
    h("span", { class: row.kind === "kept" && better(row.change) ? "green" : "soft" }, row.change == null ? short(row) : change(row.change)), h("span", { class: "soft age" }, ago(row))))));
}

function running(all = true) {
  const N = D.now, S = D.study;
  if (all) lanes();
  if (!N) {
    const why = S.why ? capital(S.why) + "." : S.state === "idle" ? "The agent has not started the next run." : !rows.length ? "Start a study with your client, or with `autoresearch serve`. Its first run is the baseline." : "";
    return put("now", h("div", { class: "stack" }, h("h2", {}, "Nothing runs"), why && h("p", { class: "soft text" }, why)));
  }
  const t = passed(nowAt), training = N.stage === "training";
  const share = shareOf(N, t), left = leftOf(N, t), when = left && `verdict ${left}`;
  const key = [when, share && Math.round(200 * share)].join(); // a clock alone draws nothing that looks the same
  if (!all && running.key === key) return;
  running.key = key;
  if (!all) lanes();
  const gap = N.gap != null && Math.abs(N.gap) >= .0005 ? `, ${Math.abs(N.gap).toFixed(3)} ${N.gap < 0 ? "below" : "above"} the incumbent's` : "";
  put("now", h("div", { class: "stack", style: { gap: "8px" } }, h("header", {}, h("h2", {}, h("span", { class: "blue", "aria-hidden": "true" }, "● "), `#${N.number}`, N.of && ["  ", go(N.of, `#${N.of} again`)], ` · ${said(N.stage)}${N.node ? ` on ${N.node}` : ""}`), h("span", { class: "soft small" }, when)),
    h("p", { class: "text clamp", title: clean(N.hypothesis, 400) }, clean(N.description, 300)),
    share != null && h("div", { class: "meter", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(100 * share), "aria-label": "Run" }, h("i", { style: { width: `${100 * share}%` } })),
    N.loss != null && h("p", { class: "soft small" }, "loss ", N.loss.toFixed(3), h("span", { class: N.gap < 0 ? "green" : "", title: "At the same time of training" }, gap), N.steps != null && ` · step ${grouped(N.steps)}`),
    N.curve.length > 2 && curves(N.curve, N.against, [], { width: Math.max(280, $("now").clientWidth - 38), height: 88, budget: training ? N.budget : 0 })));
}
const shareOf = (now, t) => now.share == null ? null : Math.min(1, now.share + (now.stage === "training" && now.share < 1 ? t / now.budget : 0));
function leftOf(now, t) {
  const left = now.eta == null ? null : Math.max(0, now.eta - t);
  return left == null ? "" : left < 1 ? "any moment" : `in ${left < 90 ? `${Math.round(left)} s` : `≈ ${Math.round(left / 60)} min`}`;
}
function lanes() { // every candidate on its way, where there is more than one lane or slot
  $("lanes").hidden = !D.lanes.length;
  if (!D.lanes.length) return;
  const t = passed(nowAt), top = $("lanes").querySelector("ul")?.scrollTop ?? 0, held = $("lanes").contains(document.activeElement) && document.activeElement.textContent;
  const busy = D.lanes.filter(lane => lane.state === "running").length, waiting = D.lanes.filter(lane => lane.place).length;
  const sign = { running: "blue", queued: "soft", open: "amber", idle: "soft" };
  const state = ({ state, place, now }) => ({ running: now && [said(now.stage) + (now.node ? ` on ${now.node}` : ""), leftOf(now, t) && `verdict ${leftOf(now, t)}`].filter(Boolean).join(", "), queued: `place ${place} in the queue`, open: "waits for a decision", idle: "no run" })[state] || state;
  put("lanes", h("header", { class: "soft" }, h("h2", {}, "Lanes"), h("span", {}, `${busy} of ${plural(D.slots, "slot")} busy${waiting ? `, ${plural(waiting, "run")} waiting` : ""}`)),
    h("ul", { tabindex: D.lanes.length > 4 ? 0 : null, role: "list", "aria-label": "Lanes" }, D.lanes.map(lane => h("li", {}, h("div", { class: "row" }, h("b", { class: "text one" }, h("span", { class: sign[lane.state], "aria-hidden": "true" }, lane.state === "running" ? "● " : "○ "), clean(lane.name, 40)), lane.agent && lane.agent !== lane.name && h("span", { class: "soft text one" }, clean(lane.agent, 40)), h("span", { class: `grow ${sign[lane.state]}` }, state(lane))),
      lane.number && lane.state !== "idle" && h("div", { class: "row" }, go(lane.number), h("span", { class: "text one grow" }, clean(lane.description, 160)))))));
  $("lanes").querySelector("ul").scrollTop = top;
  if (held) [...$("lanes").querySelectorAll("button")].find(one => one.textContent === held)?.focus({ preventScroll: true });
}

const TABS = { experiments: "Experiments", lessons: "Lessons", notes: "Notes and ideas", trust: "Trust and health" };
const openIdeas = () => D.notes.filter(note => note.open);
function panel() {
  const ids = Object.keys(TABS), count = { experiments: D.counts.experiments, notes: openIdeas().length, trust: D.health.facts.filter(fact => !fact.good).length };
  const tell = { notes: n => `${n} open`, trust: n => `${n} !`, experiments: n => n };
  const turn = event => {
    const to = ids[ids.indexOf(view.tab) + ({ ArrowRight: 1, ArrowLeft: -1 }[event.key] ?? 0)];
    if (to && to !== view.tab) { view.tab = to; panel(); $(`tab-${to}`).focus(); }
  };
  if (!$("tabs").firstChild) put("tabs", ids.map(id => h("button", { role: "tab", id: `tab-${id}`, "aria-controls": "panel", onclick: () => { view.tab = id; panel(); }, onkeydown: turn })));
  for (const id of ids) { // the buttons stay: what comes while one is pressed takes no click away, nor the focus
    const tab = $(`tab-${id}`);
    tab.setAttribute("aria-selected", String(view.tab === id));
    tab.tabIndex = view.tab === id ? 0 : -1;
    put(tab, TABS[id], count[id] > 0 && h("span", { class: "soft" }, ` ${tell[id](count[id])}`));
  }
  $("panel").setAttribute("aria-labelledby", `tab-${view.tab}`);
  repaint = () => {};
  ({ experiments, lessons, notes, trust })[view.tab]();
}

const SHOW = {
  all: ["All", () => true], kept: ["Kept", row => row.kind === "kept" && !isBaseline(row)], sure: ["Sure", row => row.standing === "sure"],
  near: ["Nearly", row => D.nearly.has(row.number)], worse: ["Worse", row => row.verdict === "worse"],
  failed: ["Failed", row => ["failed", "refused", "revoked"].includes(row.kind)], open: ["Open", row => row.kind === "open" || row.kind === "running"],
};
let repaint = () => {};
const TALL = () => innerWidth <= 700 ? 60 : 34;
function experiments() {
  const box = h("div", { id: "scroll" }), body = h("tbody", { id: "rows" });
  let listed = [], from0 = -1;
  const column = (id, text, width, cls) => h("th", { scope: "col", style: width && { width }, class: cls, "aria-sort": view.sort === id && id ? (view.down ? "descending" : "ascending") : null },
    id ? h("button", { "data-sort": id, onclick: () => { view.down = view.sort === id ? !view.down : id === "number"; view.sort = id; panel(); } }, text, view.sort === id ? (view.down ? " ↓" : " ↑") : "") : text);
  box.append(h("table", {}, h("caption", { class: "sr" }, "Experiments"), h("thead", {}, h("tr", {}, column("number", "#", "52px"), column("", "outcome", "148px"), column("value", metric().name.slice(0, 16), "84px"), column("change", "Δ to its incumbent", "196px"), column("", "kind", "104px", "opt"), column("", "description"))), body));
  const search = h("input", { type: "search", placeholder: "Search", "aria-label": "Search the experiments", value: view.find, oninput: event => { view.find = event.target.value; list(box.scrollTop); } });
  const chip = ([id, [text, test]]) => { const n = rows.reduce((n, row) => n + test(row), 0); return (n > 0 || id === "all") && h("button", { class: "btn", "aria-pressed": String(view.show === id), onclick: () => { view.show = id; panel(); } }, text, h("span", { class: "soft" }, ` ${n}`)); };
  put("panel", h("div", { class: "filters" }, Object.entries(SHOW).map(chip), search), box);
  const list = top => {
    const words = view.find.toLowerCase().split(/\s+/).filter(Boolean), test = SHOW[view.show][1];
    listed = rows.filter(row => test(row) && (!words.length || words.every(word => (row.search ??= `#${row.number} ${row.description} ${row.verdict} ${row.kind} ${row.category}`.toLowerCase()).includes(word))));
    const key = { number: row => row.number, value: row => row.value, change: row => row.change }[view.sort];
    listed.sort((p, q) => { const a = key(p), b = key(q); return a == null ? (b == null ? q.number - p.number : 1) : b == null ? -1 : (view.down ? -1 : 1) * (a - b); });
    box.style.setProperty("height", `min(${Math.max(listed.length, 2) * TALL() + 36}px, 560px, 70vh)`);
    paint(top, true);
  };
  const paint = (top, anew) => { // only what can be seen
    const tall = TALL(), from = Math.max(0, Math.floor(top / tall) - 8), to = Math.min(listed.length, Math.floor((top + 560) / tall) + 8);
    if (from === from0 && !anew) return;
    from0 = from;
    const gap = many => h("tr", { class: "gap", "aria-hidden": "true", style: { height: `${many * tall}px` } });
    put(body, from > 0 && gap(from), listed.slice(from, to).map(line), to < listed.length && gap(listed.length - to));
    if (!listed.length) put(body, h("tr", { class: "gap" }, h("td", { colspan: 6, class: "soft" }, rows.length ? "No experiment matches." : "Nothing was tried yet.")));
  };
  box.addEventListener("scroll", () => paint(box.scrollTop), { passive: true });
  box.addEventListener("keydown", event => {
    const way = { ArrowDown: 1, ArrowUp: -1 }[event.key], at = listed.findIndex(row => row.number === view.number) + way;
    if (!way || !listed[at]) return;
    event.preventDefault();
    choose(listed[at].number, false);
    const tall = TALL();
    if (at * tall < box.scrollTop + tall || (at + 2) * tall > box.scrollTop + box.clientHeight) box.scrollTop = at * tall - box.clientHeight / 2;
    repaint();
    body.querySelector("[aria-current=true] button")?.focus({ preventScroll: true });
  });
  repaint = () => paint(box.scrollTop, true);
  list(0);
}
function line(row) {
  return h("tr", { "aria-current": row.number === view.number ? "true" : null, onclick: () => choose(row.number) }, h("td", {}, row.number),
    h("td", {}, h("span", { class: "word" }, icon(look(row)), h("span", { class: tone(row), title: name(row) }, short(row)), row.runs > 1 && h("span", { class: "soft", title: `${row.runs} runs` }, `×${row.runs}`))),
    h("td", { class: row.comparable ? "" : "soft", title: row.comparable ? null : "By an earlier measurement" }, row.value == null ? "" : num(row.value)),
    h("td", {}, row.change != null && h("span", { class: "word" }, row.comparable && forest(row), h("span", { class: row.kind === "kept" && better(row.change) ? "green" : "soft" }, change(row.change)))),
    h("td", { class: "soft opt" }, row.category),
    h("td", { class: "desc text", title: row.description }, h("button", { onclick: event => { event.stopPropagation(); choose(row.number); } }, clean(row.description, 200) || "no description")));
}

function lessons() {
  const T = D.lessons, most = Math.max(...T.gains.map(gain => Math.abs(gain.change)), 1e-12);
  if (!T.gains.length && !T.knobs.length && !D.agents.length) return put("panel", h("p", { class: "soft" }, "No lessons yet: they need a few experiments."));
  const kinds = h("div", { class: "kinds" }, T.gains.map(gain => [h("span", { class: "text" }, clean(gain.category, 30)), h("i", { style: { width: `${Math.max(0, 100 * Math.abs(gain.change) / most)}%` } }), h("b", { class: better(gain.change) ? "green" : "soft" }, gain.kept ? [change(gain.change), gain.error != null && h("span", { class: "soft" }, ` ± ${size(gain.error)}`)] : "–"), h("span", { class: "soft" }, `${gain.kept} of ${gain.tried} kept`)]));
  const near = h("ul", { class: "list" }, T.near.slice(0, 6).map(miss => h("li", {}, go(miss.number, `#${miss.number} ${clean(miss.description, 110)}`), " ", h("span", { class: "soft" }, change(miss.change, 1), miss.sigmas != null && `, ${miss.sigmas.toFixed(1)} σ`))),
    T.pairs.map(pair => h("li", { class: "text small" }, h("b", {}, "Never tried together: "), clean(pair, 240).replace(/-(?=\d)/g, MINUS))), !T.near.length && h("li", { class: "soft" }, "No near misses yet."));
  const finder = one => [h("span", { class: "text" }, clean(one.name || "without a name", 40)), h("span", { class: "soft" }, `${one.kept} of ${one.experiments} kept${one.sure ? `, ${one.sure} sure` : ""}`), h("span", {}, one.best && [h("b", { class: better(one.change) ? "green" : "soft" }, change(one.change), one.error != null && h("span", { class: "soft" }, ` ± ${size(one.error)}`)), " ", go(one.best)]), h("span", { class: "soft" }, duration(one.seconds))];
  put("panel", h("div", { class: "stack", style: { gap: "26px" } }, D.agents.length > 0 && h("div", {}, h("h3", {}, "Who found what: kept changes, best gain, run time"), h("div", { class: "kinds" }, D.agents.map(finder))), h("div", { class: "cols" }, h("div", {}, h("h3", {}, "Gain by kind of idea"), kinds), h("div", {}, h("h3", {}, "What nearly worked"), near)),
    T.knobs.length > 0 && h("div", {}, h("h3", {}, `The values tried for each knob, and the change to the incumbent at the time (${metric().direction} is better)`), h("div", { class: "knobs" }, T.knobs.slice(0, 24).map(knob)))));
}
function knob({ name: label, points }, at, all, W = 200, H = 104) {
  const value = text => Number(String(text).replace(/^2\*\*(\d+)$/, (_, e) => 2 ** e)), numeric = points.every(p => p.after !== "" && Number.isFinite(value(p.after)));
  const every = [...new Set(points.map(p => p.after))];
  let xs = points.map(p => numeric ? value(p.after) : every.indexOf(p.after));
  if (numeric && Math.min(...xs) > 0 && Math.max(...xs) / Math.min(...xs) > 8) xs = xs.map(Math.log);
  const low = Math.min(...xs), high = Math.max(...xs), sigma = D.noise?.sigma ?? 0, mid = (H - 18) / 2;
  const far = Math.max(3 * sigma, Math.min(8 * sigma || Infinity, Math.max(...points.map(p => Math.abs(p.change ?? 0))))) || 1;
  const x = v => 10 + (high > low ? (v - low) / (high - low) : .5) * (W - 20), y = d => mid - Math.max(-1, Math.min(1, d / far)) * (mid - 7);
  const order = xs.map((v, i) => [v, points[i].after]).sort((p, q) => p[0] - q[0]), ends = [order[0], order.at(-1)];
  const tell = p => `#${p.number}: ${clean(p.before, 40)} → ${clean(p.after, 40)} ${change(p.change, 1)}`;
  return h("figure", {}, h("figcaption", { class: "text" }, clean(label, 60)), s("svg", { viewBox: `0 0 ${W} ${H}`, width: "100%", role: "img", "aria-label": points.map(tell).join("; ").slice(0, 600) },
    s("rect", { class: "band", x: 0, width: W, y: y(sigma), height: Math.max(0, y(-sigma) - y(sigma)) }), s("path", { class: "grid", d: `M0,${y(0)}H${W}` }),
    points.map((p, i) => { const cx = x(xs[i]), cy = p.change == null ? 9 : y(p.change), row = byNumber[p.number]; return s("g", { class: "hit", onclick: () => choose(p.number) }, s("title", {}, tell(p)), s("circle", { cx, cy, r: 10, fill: "transparent" }), mark(row ? look(row) : D.kinds[p.kind], cx, cy)); }),
    s("text", { x: 4, y: H - 3 }, clean(ends[0][1], 14)), ends[1][1] !== ends[0][1] && s("text", { x: W - 4, y: H - 3, "text-anchor": "end" }, clean(ends[1][1], 14))));
}

function notes() {
  const item = note => h("li", {}, h("div", { class: "text" }, note.idea && h("b", { class: note.open ? "amber" : "soft" }, `Idea ${note.number}: `), clean(note.text, 4000)),
    h("div", { class: "soft small text" }, note.after ? ["after ", go(note.after)] : "before the first experiment", note.outcome && ` · ${clean(note.outcome, 400)}`));
  const open = openIdeas(), rest = D.notes.filter(note => !note.open).reverse();
  if (!D.notes.length) return put("panel", h("p", { class: "soft" }, "The agent has no notes yet."));
  put("panel", h("div", { class: "cols" }, h("div", {}, h("h3", {}, open.length === 1 ? "1 open idea" : `${open.length} open ideas`), h("ul", { class: "list" }, open.slice(0, 200).map(item))), h("div", {}, h("h3", {}, "Newest first"), h("ul", { class: "list" }, rest.slice(0, 200).map(item)))));
}

function trust() {
  const P = D.health, B = D.spent, bill = D.bill, parts = { kept: "var(--green)", discarded: "var(--grey)", repeats: "var(--blue)", failed: "var(--red)" };
  const fact = one => h("li", { class: "fact" }, h("span", { class: one.good ? "green" : "amber", "aria-label": one.good ? "good" : "mind" , role: "img" }, one.good ? "✓" : "!"), h("div", { class: "text" }, clean(one.text, 600), (one.more || one.numbers.length > 0) && h("div", { class: "soft small" }, one.numbers.map(n => [go(n), " "]), clean(one.more, 600))));
  const state = { on: P.pulse == null ? "alive" : `running, last report ${Math.round(P.pulse)} s ago`, off: "none works here", hangs: "hangs: it no longer reports" }[P.server] ?? P.server;
  const facts = [["server", state], ["agent", D.agent], ["device", P.device], ["profile", D.study.profile], ["data", D.study.dataset], ["disk free", P.disk_gb != null && `${P.disk_gb.toFixed(0)} GB`], ["branch", D.study.branch]].filter(([, value]) => value);
  const tokens = bill && [bill.tokens_in != null && `${(bill.tokens_in / 1e6).toFixed(1)} M tokens in`, bill.tokens_out != null && `${(bill.tokens_out / 1e3).toFixed(0)} k out`, bill.cost_usd != null && `$${bill.cost_usd.toFixed(2)}`].filter(Boolean).join(", ");
  put("panel", h("div", { class: "cols" }, h("div", {}, h("h3", {}, "How far to trust it"), h("ul", { class: "list" }, P.facts.map(fact), !P.facts.length && h("li", { class: "soft" }, "Nothing was measured yet."))),
    h("div", { class: "stack", style: { gap: "20px" } }, h("div", {}, h("h3", {}, "Health"), h("dl", { class: "figs" }, facts.map(([k, v]) => [h("dt", {}, k), h("dd", { class: "wide2 text" }, clean(v, 120))]))),
      B.seconds > 0 && h("div", {}, h("h3", {}, "What the runs took"), h("div", { class: "meter parts", role: "img", "aria-label": "Shares of the time" }, Object.keys(parts).map(k => h("i", { style: { width: `${100 * B[k] / B.seconds}%`, background: parts[k] } }))), h("p", { class: "soft small", style: { "margin-top": "6px" } }, Object.keys(parts).filter(k => B[k] > 0).map((k, at) => [at > 0 && " · ", h("span", { "aria-hidden": "true", style: { color: parts[k] } }, "■ "), `${k} ${duration(B[k])}`]))),
      bill && h("div", {}, h("h3", {}, "The agent's bill"), h("p", {}, [bill.client, tokens].filter(Boolean).join(": "))))));
}
