// Elements and numbers. Whatever an agent, a run or a file wrote is shown as text: no markup is made of a string anywhere.
const $ = id => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
// Controls, and what turns the direction of writing or hides: a reader sees that there was something.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;
const LONGEST = 20000;

// The one door for text that is not ours: cut, and without what a reader would not see.
function clean(text, most = LONGEST) {
  text = String(text ?? "");
  return (text.length > most ? text.slice(0, most) + " …" : text).replace(UNSEEN, "\ufffd");
}
function fill(made, props, kids) {
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value == null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "style") for (const name in value) made.style.setProperty(name, value[name]);
    else made.setAttribute(key, value === true ? "" : key === "d" ? value : clean(value)); // d: a path of ten thousand dots
  }
  made.append(...kids.flat(9).filter(kid => kid != null && kid !== false).map(kid => kid instanceof Node ? kid : clean(kid)));
  return made;
}
const h = (tag, props, ...kids) => fill(document.createElement(tag), props, kids);
const s = (tag, props, ...kids) => fill(document.createElementNS(SVG, tag), props, kids);
function put(at, ...kids) {
  at = typeof at === "string" ? $(at) : at;
  if (kids.length === 1 && typeof kids[0] === "string" && kids[0] && at.childNodes.length === 1 && at.firstChild.nodeType === 3 && at.firstChild.data === clean(kids[0])) return at; // as it is: nothing is drawn or read aloud anew
  at.replaceChildren();
  return fill(at, null, kids);
}

// What the page knows, and what it shows of it.
let D = null; // the summary
let rows = []; // its rows as objects
let byNumber = [];
const details = new Map();
const view = { tab: "experiments", show: "all", find: "", sort: "number", down: true, from: null, to: null, bend: null, number: null };
let hover = null;

// Numbers as people read them; the rules are the metric's.
const MINUS = "\u2212";
const minus = text => text.replace(/-/g, MINUS);
const metric = () => D.study.metric;
function digits(x, most) {
  const size = Math.abs(x);
  return size >= 1e6 && size < 1e15 ? x.toFixed(0) : String(Number(x.toPrecision(most)));
}
function num(x, more = 0) {
  if (x == null) return "–";
  return minus(metric().places == null ? digits(x, 6) : x.toFixed(metric().places + more));
}
const plus = text => text.startsWith(MINUS) ? text : "+" + text;
function change(x, more = 0) {
  if (x == null) return "–";
  if (metric().scale === "log") return `${plus(minus((100 * Math.expm1(x)).toFixed(2)))} %`;
  return plus(minus(metric().places == null ? digits(x, 4) : x.toFixed(metric().places + more)));
}
function size(x, more = 0) {
  if (x == null) return "–";
  if (metric().scale === "log") return `${digits(100 * x, 2)} %`;
  return metric().places == null ? digits(x, 3) : Math.abs(x).toFixed(metric().places + more);
}
const better = x => x != null && x * metric().sign > 0;
// Where a value lies on the scale, and the value that lies there.
const place = v => metric().scale === "log" ? Math.log(v) : v;
const valueAt = p => metric().scale === "log" ? Math.exp(p) : p;
function span(seconds) {
  const t = Math.max(0, Math.round(seconds)), hours = Math.floor(t / 3600), minutes = Math.floor(t % 3600 / 60);
  if (hours >= 48) return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  if (hours) return `${hours} h ${String(minutes).padStart(2, "0")} min`;
  return minutes ? `${minutes} min ${String(t % 60).padStart(2, "0")} s` : `${t} s`;
}
const duration = seconds => seconds < 5400 ? span(seconds) : `${(seconds / 3600).toFixed(1)} h`;
const grouped = n => String(n).replace(/\B(?=(\d{3})+$)/g, ","); // of a whole number
const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
const said = word => word.replaceAll("_", " ");
const capital = text => text.charAt(0).toUpperCase() + text.slice(1);
const remembered = key => { try { return localStorage.getItem(`autoresearch-${key}`); } catch { return null; } };
const remember = (key, value) => { try { localStorage.setItem(`autoresearch-${key}`, value); } catch { /* private mode */ } };

let toastTimer;
function toast(text) {
  put("toast", text);
  $("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $("toast").hidden = true; }, 5000);
}
