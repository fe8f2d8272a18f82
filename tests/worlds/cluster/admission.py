"""The admission policies of deploy/, judged by CEL as an API server does it: what can't be evaluated is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from cel_expr_python import cel  # type: ignore[import-untyped]  # its stubs have no marker

FOLDER = Path(__file__).parents[3] / "deploy" / "kustomize" / "base"
WORKER = "system:serviceaccount:gpu-controlplane:pgfleet-reservation"
ENVIRONMENT = cel.NewEnv(variables=dict.fromkeys(("object", "oldObject", "request", "variables"), cel.Type.DYN))


@dataclass(frozen=True)
class Asked:
    """A request: for `object` if it makes something, about `old` if it deletes."""

    operation: str
    resource: str
    object: dict[str, Any] | None = None
    old: dict[str, Any] | None = None
    namespace: str | None = "gpu-dev"
    user: str = WORKER
    group: str = ""

    @property
    def values(self) -> dict[str, Any]:
        resource, _, subresource = self.resource.partition("/")
        request = {
            "operation": self.operation,
            "resource": {"group": self.group, "version": "v1", "resource": resource},
            "userInfo": {"username": self.user},
            # What is empty is not there.
            **({"subResource": subresource} if subresource else {}),
            **({"namespace": self.namespace} if self.namespace else {}),
        }
        return {"object": self.object, "oldObject": self.old, "request": request}


@dataclass(frozen=True)
class Policy:
    name: str
    spec: dict[str, Any]
    compiled: dict[str, Any] = field(default_factory=dict)

    def refusals(self, asked: Asked) -> list[str]:
        """The messages of what it refuses; none of a request that is not its business."""
        values = asked.values
        conditions = self.spec["matchConditions"]
        if not self._is_about(asked) or not all(self._holds(each["expression"], values) for each in conditions):
            return []
        values["variables"] = variables = {}
        for each in self.spec.get("variables", ()):
            found = self._evaluated(each["expression"], values)
            if found.type() != cel.Type.ERROR:
                variables[each["name"]] = found.plain_value()
        return [each["message"] for each in self.spec["validations"] if not self._holds(each["expression"], values)]

    def _is_about(self, asked: Asked) -> bool:
        return any(
            _has(rule["apiGroups"], asked.group)
            and _has(rule["operations"], asked.operation)
            and ("*/*" in rule["resources"] or asked.resource in rule["resources"])
            for rule in self.spec["matchConstraints"]["resourceRules"]
        )

    def _holds(self, expression: str, values: dict[str, Any]) -> bool:
        return self._evaluated(expression, values).value() is True

    def _evaluated(self, expression: str, values: dict[str, Any]) -> Any:
        if expression not in self.compiled:
            self.compiled[expression] = ENVIRONMENT.compile(expression)
        return self.compiled[expression].eval(data={"variables": {}, **values})


def policies() -> list[Policy]:
    return [Policy(each["metadata"]["name"], each["spec"]) for each in documents("ValidatingAdmissionPolicy")]


def documents(kind: str) -> list[dict[str, Any]]:
    found = [each for path in sorted(FOLDER.glob("*.yaml")) for each in yaml.safe_load_all(path.read_text("utf-8"))]
    return [each for each in found if each["kind"] == kind]


def _has(listed: list[str], wanted: str) -> bool:
    return "*" in listed or wanted in listed
