"""What can't be seen in a node's object: whether its kubelet still works, and what its clock says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.store import timestamp

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.store import Record, Store


class Machines:
    """`silent` has names of nodes, `clocks_s` how far theirs are ahead, `stuck` uids of pods that nobody can end."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.silent: set[str] = set()
        self.clocks_s: dict[str, float] = {}
        self.stuck: set[str] = set()

    def works(self, node: str) -> bool:
        return node not in self.silent and self._store.get(("nodes", "", node)) is not None

    def now(self, node: str) -> str:
        return timestamp(self.clocks_s.get(node, 0.0))

    def can_end(self, pod: Record) -> bool:
        """Whether a kubelet is there that ends the pod's processes and says so."""
        node = pod.fields["spec.nodeName"]
        return pod.uid not in self.stuck and (not node or self.works(node))

    def addresses(self, node: str) -> list[str]:
        """A node's own, one of each family, in its order."""
        record = self._store.get(("nodes", "", node))
        listed = record.body().get("status", {}).get("addresses", []) if record else []
        found: dict[bool, str] = {}
        for each in listed:
            if each["type"] == "InternalIP":
                found.setdefault(":" in each["address"], each["address"])
        return list(found.values())
