"""Who may ask: bearer tokens that are known, and rights that are missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.refusals import RefusedError, forbidden

if TYPE_CHECKING:
    from aiohttp import web


@dataclass(frozen=True, slots=True)
class Question:
    """What rights are about; an empty namespace is the cluster, or all namespaces."""

    verb: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    group: str = ""

    @property
    def path(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource

    @property
    def path_in_group(self) -> str:
        """As kubectl takes it."""
        return f"{self.path}.{self.group}" if self.group else self.path


@dataclass(frozen=True, slots=True)
class Tokens:
    """Any other token, and none, is answered 401."""

    known: tuple[str, ...] = ()

    def check(self, request: web.BaseRequest) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self.known:
            raise RefusedError(401, "Unauthorized")


@dataclass(frozen=True, slots=True)
class Rights:
    """`missing` are such as `create pods`, `* pods/exec` or `* *`; `why` is what RBAC adds of its own troubles."""

    missing: tuple[str, ...] = ()
    user: str = "system:serviceaccount:pgfleet:reservation"
    why: str = ""

    def allow(self, question: Question) -> bool:
        for missing in self.missing:
            verb, _, path = missing.partition(" ")
            if verb in ("*", question.verb) and path in ("*", question.path, question.path_in_group):
                return False
        return True

    def check(self, question: Question) -> None:
        if self.allow(question):
            return
        where = f'in the namespace "{question.namespace}"' if question.namespace else "at the cluster scope"
        what = f'resource "{question.path}" in API group "{question.group}"'
        why = f'User "{self.user}" cannot {question.verb} {what} {where}{self.why and ": "}{self.why}'
        raise forbidden(question.resource, question.name, why)
