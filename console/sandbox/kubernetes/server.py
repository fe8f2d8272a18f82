"""All addresses of the API server: its resources, the reviews of rights, the metrics, its version and health."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from aiohttp import web

from pgfleet.console.sandbox.answers import answer
from pgfleet.console.sandbox.kubernetes import metrics, paths
from pgfleet.console.sandbox.kubernetes.api import Api
from pgfleet.console.sandbox.kubernetes.reading import read_body
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError, invalid, not_found
from pgfleet.console.sandbox.kubernetes.resources import NAMESPACES
from pgfleet.console.sandbox.kubernetes.rules.access import Question

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.cluster import Cluster

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
NAMESPACE = re.compile(r"/api/v1/namespaces/([^/]+)/?")
HEALTH = ("/readyz", "/livez", "/healthz")
PREFIXES = ("/api/", "/apis/", "/version", *HEALTH)
VERSION = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.1",
    "gitCommit": "0000000000000000000000000000000000000000",
    "gitTreeState": "clean",
    "buildDate": "2026-05-12T12:00:00Z",
    "goVersion": "go1.26.1",
    "compiler": "gc",
    "platform": "linux/amd64",
}


class Server:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._api = Api(cluster)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Raises `RefusedError`."""
        rules = self._cluster.rules
        rules.check_token(request)
        if request.path in HEALTH:
            return web.Response(text="ok")
        if request.path.rstrip("/") == "/version":
            return answer(VERSION)
        if (request.method == "GET") and (found := NAMESPACE.fullmatch(request.path)):
            return answer(self._namespace(found[1]))
        if request.path.startswith(tuple(paths.PREFIXES)):
            return await self._api.answer(request)
        if request.path.startswith(metrics.PREFIX):
            rules.check_right(Question("list", "pods", group=metrics.GROUP))
            return metrics.metrics(request, self._cluster.store)
        if (request.method, request.path) == ("POST", REVIEWS):
            return answer(self._review(await read_body(request)), 201)
        raise RefusedError(404, "the server could not find the requested resource")

    def _namespace(self, name: str) -> dict[str, Any]:
        self._cluster.rules.check_right(Question("get", "namespaces", namespace=name, name=name))
        if name not in NAMESPACES:
            raise not_found("namespaces", name)
        metadata = {"name": name, "labels": {"kubernetes.io/metadata.name": name}}
        status = {"phase": self._cluster.rules.phase_of(name)}
        return {"kind": "Namespace", "apiVersion": "v1", "metadata": metadata, "status": status}

    def _review(self, body: Any) -> dict[str, Any]:
        """A SelfSubjectAccessReview, with its answer. What is no resource is allowed."""
        spec = (body or {}).get("spec") or {}
        if ("resourceAttributes" in spec) == ("nonResourceAttributes" in spec):
            why = "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified"
            raise invalid("SelfSubjectAccessReview.authorization.k8s.io", "", "spec.resourceAttributes", why)
        asked = spec.get("resourceAttributes")
        is_allowed = asked is None or self._cluster.rules.allow(_question(asked))
        kind = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1"}
        reason = {"reason": 'RBAC: allowed by RoleBinding "pgfleet/reservation"'} if is_allowed else {}
        return kind | {"metadata": {}, "spec": spec, "status": {"allowed": is_allowed} | reason}


def _question(asked: dict[str, str]) -> Question:
    fields = ("verb", "resource", "subresource", "namespace", "name", "group")
    return Question(**{name: asked.get(name) or "" for name in fields})
