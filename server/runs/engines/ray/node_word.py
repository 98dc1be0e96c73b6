"""What every node of the cluster says of itself, for `autoresearch doctor`. For the child process alone."""

import time
from typing import Any

from server.runs.engines.ray import door, tenant
from server.runs.engines.ray.cargo import Code
from server.runs.engines.ray.door import Dead, Failed, Silent


def ask_all(code: Code, seconds: float) -> list[dict[str, Any]]:
    """One word of each node that is alive, asked at once; `trouble` where one did not answer in time.

    A word has `sent` and `came`, by our clock, around the node's own `time`. Raises Silent.
    """
    alive = [node for node in door.nodes() if node.alive]
    sent, archive = time.time(), door.put(code.data)
    asked = [(node, door.ask_node(node.id, tenant.word, archive, code.digest)) for node in alive]
    deadline = time.monotonic() + seconds
    return [_word(node, ref, sent, deadline) for node, ref in asked]


def _word(node: door.Node, ref: door.Ref, sent: float, deadline: float) -> dict[str, Any]:
    told: dict[str, Any] = {"host": node.host, "address": node.address, "resources": node.resources, "sent": sent}
    try:
        return {**told, **door.answer(ref, max(0.1, deadline - time.monotonic())), "came": time.time()}
    except Silent:
        return {**told, "trouble": "it does not answer"}
    except (Dead, Failed) as error:
        return {**told, "trouble": str(error)}
