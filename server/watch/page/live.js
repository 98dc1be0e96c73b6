// The connection: the session, the stream of changes, the operator's requests.
const STALE = 25000; // ms without a word of the server, which speaks every ten seconds
const live = {
  csrf: "", cursor: "", source: null, heard: 0, broken: false, wait: 1000, timer: 0,

  // Whether what is shown may be old, and how that is told.
  quiet() { return this.broken || performance.now() - this.heard > STALE; },
  silence() { // in steps, as it is read aloud
    const t = Math.floor(passed(this.heard));
    return this.broken ? "no connection" : `silent for ${t < 60 ? `${t - t % 5} s` : `${Math.floor(t / 60)} min`}`;
  },

  async begin() {
    measure();
    const answer = await first.session;
    if (first.linked && !answer?.ok) return gate("This link is not valid: use the link that 'autoresearch watch' prints.");
    if (answer?.status === 401) return gate("");
    if (answer?.ok) this.csrf = (await answer.json()).csrf;
    await this.again(first.summary).catch(() => { this.broken = true; });
    this.stream();
  },
  async enter(token) {
    const answer = await post("api/session", { token });
    if (!answer?.ok) return false;
    this.csrf = (await answer.json()).csrf;
    return true;
  },

  // Fetch everything. Raises when the server is away: what is shown stays.
  async again(asked = fetch("api/summary"), tries = 5) {
    const answer = await asked;
    if (answer.status === 401) { this.close(); gate(""); throw new Error("no session"); }
    if (!answer.ok) throw new Error(answer.statusText);
    const told = await answer.json();
    this.heard = performance.now();
    this.broken = false;
    trouble(told.trouble ?? "");
    // What was told meanwhile is newer than an answer that was on its way: ask once more.
    const [boot, number] = told.cursor.split("."), [heardBoot, heardNumber] = this.cursor.split(".");
    if (boot === heardBoot && +number < +heardNumber && tries > 0) return this.again(undefined, tries - 1);
    if (told.study) try { take(told); } catch (error) { reportError(error); } // no fault of the connection
    else if (!D) this.after = told.cursor;
  },
  stream() {
    this.close();
    const source = this.source = new EventSource(`api/events?after=${encodeURIComponent(D?.cursor ?? this.after ?? "")}`);
    const on = (event, act) => source.addEventListener(event, message => {
      if (source !== this.source) return;
      this.heard = performance.now();
      if (message.lastEventId) this.cursor = message.lastEventId;
      if (D) D.cursor = this.cursor || D.cursor;
      act(JSON.parse(message.data || "{}"));
    });
    source.addEventListener("open", () => { this.wait = 1000; this.heard = performance.now(); this.broken = false; if (D) beat(); });
    on("update", update);
    on("now", told => { if (!D) return; D.study = told.study; D.now = told.now; D.lanes = told.lanes ?? []; nowAt = performance.now(); beat(true); });
    on("reset", () => this.again().catch(() => {}));
    on("trouble", told => trouble(told.text));
    on("tick", () => D && beat());
    source.addEventListener("error", () => {
      if (source !== this.source) return;
      this.broken = true;
      if (D) beat();
      if (source.readyState === EventSource.CLOSED) this.later();
    });
  },
  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  },
  later() { // a server that is started again has the same link, and this tab its cookie
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.renew(), this.wait);
    this.wait = Math.min(this.wait * 2, 10000);
  },
  renew() {
    this.close();
    this.again().then(() => this.stream(), () => { this.broken = true; if (D) beat(); if ($("gate").hidden) this.later(); });
  },

  async detail(number) {
    if (details.has(number)) return details.get(number);
    const answer = await fetch(`api/experiments/${number}`).catch(() => null);
    if (!answer?.ok) return null;
    const found = await answer.json();
    if (details.size > 60) details.delete(details.keys().next().value);
    details.set(number, found);
    return found;
  },
  async ask(word) {
    const answer = await post("api/request", { word }, { "x-csrf": this.csrf });
    const told = await answer?.json().catch(() => null);
    toast(answer?.ok ? capital(told.told) + "." : `Not done: ${told?.error ?? "there is no connection."}`);
  },
};

// A whole summary, or what has changed of it.
function take(summary) {
  D = summary;
  D.nearly = new Set(D.lessons.near.map(miss => miss.number));
  toldAt = nowAt = performance.now();
  const C = D.rows;
  rows = C.number.map((number, at) => ({ // all of one shape: there may be ten thousand
    number, kind: D.kinds[C.kind[at]], standing: D.standings[C.standing[at]], verdict: D.verdicts[C.verdict[at]], category: D.categories[C.category[at]], comparable: C.comparable[at] === 1,
    value: C.value[at], change: C.change[at], error: C.error[at], value_error: C.value_error[at], runs: C.runs[at], started: C.started[at], seconds: C.seconds[at], description: C.description[at], again: C.again[at],
    px: 0, py: 0, search: null,
  }));
  byNumber = [];
  for (const row of rows) byNumber[row.number] = row;
  const fresh = !byNumber[view.number], wanted = fresh ? routed() : null;
  if (fresh) view.number = wanted ?? D.headline?.best.number ?? rows.at(-1)?.number ?? null;
  $("main").hidden = false;
  $("gate").hidden = true;
  beat(true);
  headline();
  plot();
  refresh();
  if (!rows.length) draw(null);
  else if (fresh) show(wanted != null);
  else live.detail(view.number).then(found => { if (found && view.number === found.number) draw(byNumber[found.number], found); });
}
function update({ rows: part, rest }) {
  if (!D) return;
  const columns = D.rows, places = new Map(columns.number.map((number, at) => [number, at]));
  part.number.forEach((number, i) => {
    const at = places.get(number) ?? columns.number.length;
    for (const key in columns) columns[key][at] = part[key][i];
    details.delete(number);
  });
  take({ ...rest, rows: columns, cursor: D.cursor });
}
function refresh() { // the panel, without taking away what somebody types or where they have scrolled
  const box = $("scroll"), top = box?.scrollTop ?? 0, input = document.activeElement?.type === "search" ? [document.activeElement.selectionStart, document.activeElement.selectionEnd] : null;
  panel();
  if ($("scroll") && top) { $("scroll").scrollTop = top; repaint(); }
  if (input) { const field = document.querySelector("#panel input[type=search]"); field?.focus({ preventScroll: true }); field?.setSelectionRange(...input); }
}
function beat(all = false) {
  head();
  controls();
  if (all || D.now && !document.hidden) running(all);
}
function trouble(text) {
  put("banner", clean(text, 400));
  $("banner").hidden = !text;
}
function gate(text) {
  live.close();
  $("main").hidden = true;
  $("gate").hidden = false;
  put("denied", text);
  $("token").focus();
}
async function open() {
  const typed = $("token").value.trim(), token = /#t=([\w-]+)/.exec(typed)?.[1] ?? typed;
  $("token").value = "";
  if (!await live.enter(token)) return put("denied", "This is not the token.");
  put("denied", "");
  live.renew();
}
$("enter").addEventListener("click", open);
$("token").addEventListener("keydown", event => { if (event.key === "Enter") open(); });

// A tab in the background holds no connection. A machine that slept asks anew.
document.addEventListener("visibilitychange", () => {
  if (!$("gate").hidden) return;
  if (document.hidden) live.close(); else live.renew();
});
let lastBeat = performance.now(), lastClock = Date.now();
setInterval(() => {
  const gap = Math.max(performance.now() - lastBeat, Date.now() - lastClock);
  lastBeat = performance.now();
  lastClock = Date.now();
  if (!D || document.hidden || !$("gate").hidden) return;
  if (gap > 15000) live.renew();
  beat();
}, 1000);
addEventListener("online", () => { if (D && !document.hidden) live.renew(); });

// Light and dark: as the system, or as it was chosen.
const THEMES = ["", "light", "dark"], SIGNS = { "": "◐", light: "☀", dark: "☾" };
function theme(to) {
  document.documentElement.dataset.theme = to;
  put("theme", SIGNS[to]);
  $("theme").setAttribute("aria-label", `Theme: ${to || "as the system"}`);
  remember("theme", to);
}
$("theme").addEventListener("click", () => theme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % 3]));
theme(THEMES.includes(remembered("theme")) ? remembered("theme") : "");
live.begin();
