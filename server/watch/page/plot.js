// What the page and the MCP App draw alike: numbers on an axis, what it must show, and marks.
function ticks(low, high, count) { // round numbers between the two
  const rough = (high - low) / Math.max(count, 1) || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find(f => f * power >= rough - 1e-12 * power);
  const first = Math.ceil(low / step - 1e-9), places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const many = Math.min(200, Math.max(0, Math.floor(high / step + 1e-9) - first + 1));
  return Array.from({ length: many }, (_, at) => ((first + at) * step).toFixed(Math.min(places, 20)));
}
function range(values, held, sigma) { // the best and the worst that are shown, where lower is better: what diverged flattens nothing
  values = Float64Array.from(values).sort();
  const best = values[0], usual = values[values.length * 3 >> 2], least = sigma || Math.abs(best) * 1e-4 || 1e-6;
  const fence = Math.max(usual + 1.1 * (usual - best), best + 4 * least, ...held), worst = values.findLast(v => v <= fence) ?? best;
  const span = Math.max(worst - best, 3 * least);
  return { best, worst: Math.max(worst, best + span * .2), span, least };
}
const CROSSED = ["failed", "refused"];
function shape(what, x, y, r) { // an element's name, and where it is
  if (CROSSED.includes(what)) return ["path", { d: `M${x - 3.6},${y - 3.6}l7.2,7.2m0,-7.2l-7.2,7.2` }];
  return ["circle", { cx: x, cy: y, r: what === "discarded" ? 3 : r }];
}
