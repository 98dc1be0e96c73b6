"""Where a run is, as its job remembers it: which cluster, which node."""

from typing import NamedTuple

from server.runs.engines.ray.door import Node
from server.runs.engines.remote import Job

_BETWEEN = "|"


class Where(NamedTuple):
    """In a job's `id`."""

    cluster: str = ""
    node: str = ""  # empty: it has not begun anywhere
    address: str = ""
    host: str = ""

    @classmethod
    def of(cls, job: Job) -> "Where":
        """What a job says."""
        return cls(*job.id.split(_BETWEEN)) if job.id.count(_BETWEEN) == 3 else cls()

    def at(self, node: str, known: Node | None) -> "Where":
        """The same on a node of the cluster."""
        if known is None:
            return self._replace(node=node)
        return self._replace(node=node, address=known.address, host=known.host)

    def is_at(self, node: Node, same: bool) -> bool:
        """Whether the run's files are on this node. `same`: whether the cluster is the run's; of another, the node that
        has the old one's address may have its disk.
        """
        if not node.alive:
            return False
        return node.id == self.node if same else (node.address, node.host) == (self.address, self.host)

    @property
    def told(self) -> str:
        """For people."""
        return f"node {self.host or self.node[:8]}" + (f" ({self.address})" if self.address else "")

    def __str__(self) -> str:
        return _BETWEEN.join(self)
