"""What is said of a branch in a terminal."""

from collections.abc import Iterator, Sequence

from server.finalize.ablation import Worth
from server.finalize.branch import Branch
from server.finalize.messages import subject
from server.text import printable


def describe(branch: Branch, worths: Sequence[Worth] = ()) -> Iterator[str]:
    """One line each."""
    kept, metric = branch.kept, branch.kept.facts.metric
    count = len(branch.commits)
    yield f"{branch.name}: {count} commit{'s' if count != 1 else ''} on {branch.onto[:12]}"
    for place, made in enumerate(branch.commits):
        numbers = ", ".join(map(str, made.numbers))
        yield f"  {made.commit[:12]} {numbers}: {printable(made.subject)} ({made.effect})"
        if worths:
            yield f"    {worths[place].text(metric)}"
    for group in branch.there:
        yield f"there already: {', '.join(map(str, group))}"
    for group in branch.left:
        numbers = ", ".join(map(str, group))
        yield f"left out: {numbers}: {subject(kept.measured(group))} ({kept.together(group).text(metric)})"
    if branch.left:
        yield "`--only all` takes everything that was kept, `--only 4,7` some by number."
    useless = [worth for worth in worths if worth.useless]
    if useless:
        good = [number for worth in worths if not worth.useless for number in worth.numbers]
        only = ",".join(map(str, sorted(good)))
        yield (
            f"Without the changes that are no longer worth anything: autoresearch finalize --only {only} --name NAME"
            if good
            else ("None of the changes is worth anything by itself any more.")
        )
    if branch.measured:
        yield "The text at its tip is the one that the study measured."
    else:
        yield (
            f"The text at its tip was not measured on this base. To measure it, run `git switch {branch.name}` in a "
            "clone and start a study there: its baseline is that run."
        )
    yield f"To look: git log -p {branch.onto[:12]}..{branch.name}"
