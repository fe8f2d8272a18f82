"""The rules of the cluster beside Kubernetes' own: each is off until a test or an operator switches it on.

Only the label that deploy/namespaces.yaml gives to the namespace of reservations holds from the start: `baseline`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pgfleet.console.sandbox.kubernetes.refusals import RefusedError
from pgfleet.console.sandbox.kubernetes.rules.access import Question, Rights, Tokens
from pgfleet.console.sandbox.kubernetes.rules.limit_range import LimitRange
from pgfleet.console.sandbox.kubernetes.rules.namespace import (
    NodePortsFull,
    NoServiceAccount,
    Terminating,
)
from pgfleet.console.sandbox.kubernetes.rules.pod_security import PodSecurity
from pgfleet.console.sandbox.kubernetes.rules.quota import Quota
from pgfleet.console.sandbox.kubernetes.rules.webhook import Policy, Webhook

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from pgfleet.console.sandbox.kubernetes.rules.new import New
    from pgfleet.console.sandbox.kubernetes.store import Store


class Rule(Protocol):
    def check(self, new: New, store: Store) -> None:
        """Raises `RefusedError`."""


# In the order in which an API server asks them: quota is last, since it charges.
RULES: dict[str, Callable[..., Rule]] = {
    "terminating": Terminating,
    "no-service-account": NoServiceAccount,
    "node-ports-full": NodePortsFull,
    "limit-range": LimitRange,
    "pod-security": PodSecurity,
    "policy": Policy,
    "webhook": Webhook,
    "quota": Quota,
}
ACCESS: dict[str, Callable[..., Tokens | Rights]] = {"tokens": Tokens, "rights": Rights}


class Switches:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._rules: dict[str, Rule] = {"pod-security": PodSecurity(level="baseline")}
        self._tokens: Tokens | None = None
        self._rights = Rights()

    def on(self, kind: str, wanted: dict[str, Any]) -> None:
        """In place of the one of that kind. Raises `RefusedError` (400) for what there is not."""
        fields = {name: tuple(value) if isinstance(value, list) else value for name, value in wanted.items()}
        try:
            if kind in ACCESS:
                self._set_access(ACCESS[kind](**fields))
            else:
                self._rules[kind] = RULES[kind](**fields)
        except (KeyError, TypeError) as error:
            known = ", ".join((*RULES, *ACCESS))
            raise RefusedError(400, f"the sandbox has no such rule: {error}; there are {known}") from error

    def off(self, *kinds: str) -> None:
        """These, or all."""
        for kind in kinds or (*RULES, *ACCESS):
            self._rules.pop(kind, None)
            if kind == "tokens":
                self._tokens = None
            if kind == "rights":
                self._rights = Rights()

    def phase_of(self, namespace: str) -> str:
        rule = self._rules.get("terminating")
        is_ending = isinstance(rule, Terminating) and rule.namespace == namespace
        return "Terminating" if is_ending else "Active"

    def check_new(self, new: New) -> None:
        """Raises `RefusedError` of the first rule that refuses."""
        for kind in RULES:
            if kind in self._rules:
                self._rules[kind].check(new, self._store)

    def check_token(self, request: web.BaseRequest) -> None:
        if self._tokens:
            self._tokens.check(request)

    def check_right(self, question: Question) -> None:
        self._rights.check(question)

    def allow(self, question: Question) -> bool:
        return self._rights.allow(question)

    def _set_access(self, access: Tokens | Rights) -> None:
        if isinstance(access, Tokens):
            self._tokens = access
        else:
            self._rights = access
