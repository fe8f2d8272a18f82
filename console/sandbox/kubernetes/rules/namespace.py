"""What a namespace lacks, or is about to lose: its own end, node ports and service accounts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.refusals import internal

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.rules.new import New
    from pgfleet.console.sandbox.kubernetes.store import Store


@dataclass(frozen=True, slots=True)
class Terminating:
    namespace: str = "gpu-dev"

    def check(self, new: New, store: Store) -> None:  # noqa: ARG002 - as all rules
        if new.key[1] == self.namespace:
            raise new.forbidden(
                f"unable to create new content in namespace {self.namespace} because it is being terminated",
                reason="NamespaceTerminating",
                message=f"namespace {self.namespace} is being terminated",
                field="metadata.namespace",
            )


@dataclass(frozen=True, slots=True)
class NodePortsFull:
    def check(self, new: New, store: Store) -> None:  # noqa: ARG002 - as all rules
        if new.plural == "services" and new.body["spec"].get("type") in ("NodePort", "LoadBalancer"):
            raise internal("failed to allocate a nodePort: range is full")


@dataclass(frozen=True, slots=True)
class NoServiceAccount:
    """The namespace was made a moment ago."""

    def check(self, new: New, store: Store) -> None:  # noqa: ARG002 - as all rules
        if new.plural == "pods":
            name = new.body["spec"].get("serviceAccountName", "default")
            why = f'serviceaccount "{name}" not found'
            raise new.forbidden(f"error looking up service account {new.key[1]}/{name}: {why}")
