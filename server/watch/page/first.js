// The first requests: they are under way while the rest of the page is read.
const post = (path, body, more) => fetch(path, { method: "POST", headers: { "content-type": "application/json", ...more }, body: JSON.stringify(body) }).catch(() => null);
const first = (() => {
  const token = /^#t=(.+)/.exec(location.hash)?.[1];
  if (token) history.replaceState(null, "", location.pathname); // before anything else can read it
  const session = token ? post("api/session", { token }) : fetch("api/session").catch(() => null);
  const summary = fetch("api/summary", token ? { headers: { "x-token": token } } : {}); // beside the other: its cookie comes later
  summary.catch(() => {});
  return { linked: !!token, session, summary };
})();
