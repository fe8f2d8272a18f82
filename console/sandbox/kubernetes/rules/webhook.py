"""A validating webhook, which may be down, and an admission policy: both judge the images of pods here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.refusals import RefusedError, internal

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.rules.new import New
    from pgfleet.console.sandbox.kubernetes.store import Store

NO_ANSWER = (
    'failed to call webhook: Post "https://policy.policy.svc:443/validate?timeout=10s":'
    " dial tcp 10.96.3.7:443: connect: connection refused"
)
WHY = "images must come from registry.example.com"


@dataclass(frozen=True, slots=True)
class Webhook:
    """`image` is searched in the images of a pod: one that matches is denied, with the webhook's `code`.

    A webhook with side effects can't be asked by a dry run.
    """

    name: str = "validate.policy.example.com"
    resources: tuple[str, ...] = ("pods",)
    down: bool = False
    side_effects: bool = False
    image: str = "a^"
    message: str = WHY
    code: int = 403

    def check(self, new: New, store: Store) -> None:  # noqa: ARG002 - as all rules
        if new.plural not in self.resources:
            return
        if new.dry_run and self.side_effects:
            raise RefusedError(400, f'admission webhook "{self.name}" does not support dry run')
        if self.down:
            raise internal(f'failed calling webhook "{self.name}": {NO_ANSWER}')
        if has_image(new, self.image):
            raise self._denied()

    def _denied(self) -> RefusedError:
        """The status that the webhook has sent: one that gives only a 400 gives no reason."""
        denied = RefusedError(self.code, f'admission webhook "{self.name}" denied the request: {self.message}')
        if self.code == 400:
            del denied.status["reason"]
        return denied


@dataclass(frozen=True, slots=True)
class Policy:
    """A ValidatingAdmissionPolicy; its refusal is a 422."""

    name: str = "images"
    image: str = "a^"
    message: str = WHY

    def check(self, new: New, store: Store) -> None:  # noqa: ARG002 - as all rules
        if has_image(new, self.image):
            why = f"ValidatingAdmissionPolicy '{self.name}' with binding '{self.name}' denied request: {self.message}"
            raise RefusedError(
                422,
                f'{new.plural} "{new.key[2]}" is forbidden: {why}',
                details={"name": new.key[2], "kind": new.plural, "causes": [{"message": why}]},
            )


def has_image(new: New, pattern: str) -> bool:
    return any(re.search(pattern, container.get("image", "")) for container in new.containers())
