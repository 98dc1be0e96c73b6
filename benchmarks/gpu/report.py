"""The table of the check, in Markdown for docs/performance.md."""

from typing import Any

GOALS = ("val_bpb against upstream's at equal minutes", "MFU", "set-up, evaluation and audit", "experiments an hour")
_UNKNOWN = "not measured yet"
_BUDGET = 300.0  # seconds of an experiment, as a study has them
Parts = dict[str, dict[str, Any]]


def figures(parts: Parts) -> dict[str, str]:
    """The cells that could be measured, by the goal's or the figure's name."""
    found: dict[str, str] = {}
    run, upstream, warm = _run(parts, "gpu"), _run(parts, "upstream"), _run(parts, "audit", "compiled")
    if run.get("score"):
        found |= _of_run(run)
        if upstream.get("score"):
            lower = 100 * (1 - run["score"] / upstream["score"])
            found[GOALS[0]] = f"{lower:.1f} % lower ({run['score']:.4f} against {upstream['score']:.4f})"
    if run.get("score") and (seconds := overhead(run, warm)):
        found[GOALS[2]] = f"{seconds['later']:.1f} s (the baseline, which compiles: {seconds['first']:.1f} s)"
        whole = _BUDGET + seconds["later"] + seconds["preflight"]
        found[GOALS[3]] = f"{3600 / whole:.1f} ({seconds['preflight']:.1f} s of preflight counted)"
    return found | _of_parts(parts)


def overhead(first: dict[str, Any], warm: dict[str, Any]) -> dict[str, float]:
    """Seconds beyond the budget of a baseline, and of a later run, which starts from what that has compiled."""
    told = first["figures"]
    evaluation, setup = told.get("evaluation_seconds"), told.get("setup_seconds")
    if evaluation is None or setup is None:
        return {}
    later = (warm.get("figures") or {}).get("setup_seconds", setup)
    preflight = (warm.get("figures") or {}).get("preflight_seconds", told.get("preflight_seconds", 0.0))
    return {"first": setup + evaluation, "later": later + evaluation, "preflight": preflight}


def markdown(parts: Parts) -> str:
    """The rows that docs/performance.md has, with what is known in them."""
    found = figures(parts)
    wanted = {
        GOALS[0]: "at least 3 % lower",
        GOALS[1]: "at least 50 %",
        GOALS[2]: "at most 10 s",
        GOALS[3]: "at least 11.6",
    }
    rows = ["| | goal | measured |", "|---|---|---|"]
    rows += [f"| {name} | {goal} | {found.get(name, _UNKNOWN)} |" for name, goal in wanted.items()]
    rows += [f"| {name} | | {found.get(name, _UNKNOWN)} |" for name in FIGURES]
    return "\n".join(rows) + "\n"


FIGURES = (
    "machine",
    "tokens a second, ms a step, peak memory",
    "claims and audit",
    "honest claims against the replica, compiled",
    "honest claims against the replica, eager",
    "a cancelled run: processes dead, memory back",
    "a killed supervisor: processes dead, memory back",
    "cheats on the GPU that held",
    "fastest causal attention of a layer",
)


def _of_run(run: dict[str, Any]) -> dict[str, str]:
    told, measured = run["figures"], run["measured"]
    speed = f"{told.get('tokens_per_second') or 0:,.0f}, {told.get('ms_per_step') or 0:.1f} ms"
    found = {FIGURES[1]: f"{speed}, {told.get('peak_memory_mb') or 0:,.0f} MB"}
    if "mfu" in told:
        found[GOALS[1]] = f"{100 * told['mfu']:.1f} %"
    if "audit_seconds" in measured:
        found[FIGURES[2]] = f"{measured['claims_seconds']:.1f} s and {measured['audit_seconds']:.1f} s"
    return found


def _of_parts(parts: Parts) -> dict[str, str]:
    found: dict[str, str] = {}
    if chip := parts.get("doctor", {}).get("data", {}).get("torch"):
        found[FIGURES[0]] = f"{chip.get('name', 'no GPU')}, torch {chip['torch']}, Python {chip['python']}"
    for name, cell in (("compiled", FIGURES[3]), ("eager", FIGURES[4])):
        if seen := _run(parts, "audit", name).get("measured", {}).get("audit"):
            mean = f"weighted mean {seen['weighted_mean']:.1e} nats"
            found[cell] = f"largest {seen['largest']:.1e} nats at {seen['positions']} positions, {mean}"
    for name, cell in (("cancelled", FIGURES[5]), ("killed", FIGURES[6])):
        if seen := parts.get("kill", {}).get("data", {}).get(name):
            found[cell] = f"{seen['dead_seconds']} s, {seen['memory_seconds']} s, {seen['held_mb']:,} MB held"
    if cheats := [one for one in parts.get("cheats", {}).get("data", {}).values() if "held" in one]:
        found[FIGURES[7]] = f"{sum(one['held'] for one in cheats)} of {len(cheats)}"
    layers = parts.get("attention", {}).get("data", {}).get("layers", [])
    causal = [
        one for one in layers if "ms" in one and one["name"].startswith("sdpa") and one["shape"] == layers[0]["shape"]
    ]
    if causal:
        best = min(causal, key=lambda one: one["ms"])
        found[FIGURES[8]] = f"{best['name']}, {best['ms']:.3f} ms forward and backward at {best['shape']}"
    return found


def _run(parts: Parts, part: str, name: str = "") -> dict[str, Any]:
    return parts.get(part, {}).get("data", {}).get(name or part, {})
