"""What a rule looks at: an object that is about to be stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.refusals import forbidden

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.refusals import RefusedError
    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.store import Key


@dataclass(frozen=True, slots=True)
class New:
    key: Key
    body: Object
    dry_run: bool

    @property
    def plural(self) -> str:
        return self.key[0]

    def containers(self) -> list[Object]:
        """Of a pod, those that begin it too; of anything else none."""
        spec = self.body.get("spec", {}) if self.plural == "pods" else {}
        return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]

    def forbidden(self, why: str, **cause: str) -> RefusedError:
        return forbidden(self.plural, self.key[2], why, causes=[cause] if cause else ())
