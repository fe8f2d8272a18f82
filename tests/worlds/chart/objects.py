"""An API server of Kubernetes that only stores objects, for helm: what a release makes, changes and takes away."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import yaml

from worlds.chart.protobuf import MAGIC, secret

if TYPE_CHECKING:
    from collections.abc import Iterator

Object = dict[str, Any]
# What there is, by group and version: kind, name in addresses, whether it belongs to a namespace.
KNOWN: dict[str, list[tuple[str, str, bool]]] = {
    "v1": [
        ("Namespace", "namespaces", False),
        ("Pod", "pods", True),
        ("Secret", "secrets", True),
        ("ConfigMap", "configmaps", True),
        ("Service", "services", True),
        ("ServiceAccount", "serviceaccounts", True),
        ("LimitRange", "limitranges", True),
        ("ResourceQuota", "resourcequotas", True),
    ],
    "apps/v1": [("Deployment", "deployments", True)],
    "batch/v1": [("Job", "jobs", True)],
    "autoscaling/v2": [("HorizontalPodAutoscaler", "horizontalpodautoscalers", True)],
    "policy/v1": [("PodDisruptionBudget", "poddisruptionbudgets", True)],
    "scheduling.k8s.io/v1": [("PriorityClass", "priorityclasses", False)],
    "networking.k8s.io/v1": [("NetworkPolicy", "networkpolicies", True), ("Ingress", "ingresses", True)],
    "rbac.authorization.k8s.io/v1": [
        ("Role", "roles", True),
        ("RoleBinding", "rolebindings", True),
        ("ClusterRole", "clusterroles", False),
        ("ClusterRoleBinding", "clusterrolebindings", False),
    ],
    "admissionregistration.k8s.io/v1": [
        ("ValidatingAdmissionPolicy", "validatingadmissionpolicies", False),
        ("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", False),
    ],
    "keda.sh/v1alpha1": [
        ("ScaledObject", "scaledobjects", True),
        ("TriggerAuthentication", "triggerauthentications", True),
    ],
    "monitoring.coreos.com/v1": [
        ("PodMonitor", "podmonitors", True),
        ("PrometheusRule", "prometheusrules", True),
    ],
}
# What can't be changed in an object that is there.
FIXED = {"jobs": ("template", "selector"), "deployments": ("selector",)}


class RefusedError(Exception):
    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
        self.status |= {"reason": reason, "message": message}


@dataclass(frozen=True)
class Place:
    """Where an address leads: a collection, or an object with its name."""

    version: str
    plural: str
    namespace: str = ""
    name: str = ""

    @property
    def kind(self) -> str:
        return next(kind for kind, plural, _ in KNOWN[self.version] if plural == self.plural)


@dataclass
class Objects:
    url: str = ""
    stored: dict[Place, Object] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    changes: int = 0

    def of_kind(self, kind: str) -> dict[str, Object]:
        return {place.name: each for place, each in self.stored.items() if place.kind == kind}

    def names(self) -> set[tuple[str, str, str]]:
        """All but what helm keeps for itself, and namespaces."""
        return {(p.kind, p.namespace, p.name) for p in self.stored if p.kind not in ("Secret", "Namespace")}

    def make_namespace(self, name: str) -> None:
        self.put(Place("v1", "namespaces", "", name), {"metadata": {"name": name}})

    def put(self, place: Place, given: Object) -> Object:
        """Stored as given; what is there must not differ in what is fixed."""
        if place.namespace and Place("v1", "namespaces", "", place.namespace) not in self.stored:
            raise RefusedError(404, "NotFound", f'namespaces "{place.namespace}" not found')
        before = self.stored.get(place)
        for part in FIXED.get(place.plural, ()) if before else ():
            if before["spec"].get(part) != given["spec"].get(part):  # type: ignore[index]  # it is there
                raise RefusedError(422, "Invalid", f'{place.kind} "{place.name}" is invalid: spec.{part}: immutable')
        self.changes += 1
        kept = {"uid": f"uid-{self.changes}", "creationTimestamp": "2026-11-30T00:00:00Z"}
        kept |= {key: before["metadata"][key] for key in kept} if before else {}
        metadata = {**given["metadata"], **kept, "resourceVersion": str(self.changes)}
        if place.namespace:
            metadata["namespace"] = place.namespace
        self.stored[place] = {**given, "apiVersion": place.version, "kind": place.kind, "metadata": metadata}
        return self.stored[place]

    def get(self, place: Place) -> Object:
        if place not in self.stored:
            raise RefusedError(404, "NotFound", f'{place.plural} "{place.name}" not found')
        return self.stored[place]

    def listed(self, place: Place, selector: str) -> Object:
        wanted = dict(each.split("=", 1) for each in selector.split(",") if "=" in each)
        items = [
            each
            for where, each in self.stored.items()
            if (where.version, where.plural) == (place.version, place.plural)
            and place.namespace in ("", where.namespace)
            and wanted.items() <= each["metadata"].get("labels", {}).items()
        ]
        return {"kind": f"{place.kind}List", "apiVersion": place.version, "metadata": {}, "items": items}


class Handler(BaseHTTPRequestHandler):
    objects: Objects
    protocol_version = "HTTP/1.1"
    # Heads and bodies are written apart, and would wait for each other.
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Nothing: tests look at what is stored."""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            with self.objects.lock:
                code, said = self._answer(body)
        except RefusedError as refused:
            code, said = refused.code, refused.status
        text = json.dumps(said).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815  # the names are the library's

    def _answer(self, body: bytes) -> tuple[int, Object]:
        address = urlsplit(self.path)
        discovered = _discovery(address.path)
        if discovered is not None:
            return 200, discovered
        place = _place(address.path)
        if self.command == "DELETE":
            self.objects.get(place)
            return 200, self.objects.stored.pop(place)
        given = secret(body) if body.startswith(MAGIC) else yaml.safe_load(body or b"{}")
        match self.command:
            case "GET" if not place.name:
                return 200, self.objects.listed(place, parse_qs(address.query).get("labelSelector", [""])[0])
            case "GET":
                return 200, self.objects.get(place)
            case "POST":
                place = Place(place.version, place.plural, place.namespace, given["metadata"]["name"])
                if place in self.objects.stored:
                    raise RefusedError(409, "AlreadyExists", f'{place.plural} "{place.name}" already exists')
                return 201, self.objects.put(place, given)
            case "PATCH" if "apply-patch" not in self.headers["content-type"]:
                return 200, self.objects.put(place, _merged(self.objects.get(place), given))
            case _:
                return 200, self.objects.put(place, given)


def _discovery(path: str) -> Object | None:
    groups = [version for version in KNOWN if "/" in version]
    match path.strip("/").split("/"):
        case ["version"]:
            return {"major": "1", "minor": "34", "gitVersion": "v1.34.0"}
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        case ["apis"]:
            listed = [
                {"name": each.split("/")[0], "versions": [version], "preferredVersion": version}
                for each in groups
                for version in [{"groupVersion": each, "version": each.split("/")[1]}]
            ]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        case ["api", "v1"]:
            return _resources("v1")
        case ["apis", group, version] if f"{group}/{version}" in KNOWN:
            return _resources(f"{group}/{version}")
        case ["openapi", "v3"]:
            return {"paths": {_base(each): {"serverRelativeURL": f"/openapi/v3/{_base(each)}"} for each in KNOWN}}
        case ["openapi", "v3", *rest] if "/".join(rest) in map(_base, KNOWN):
            return _operations("/".join(rest).removeprefix("apis/").removeprefix("api/"))
        case _:
            return None


def _base(version: str) -> str:
    return f"apis/{version}" if "/" in version else f"api/{version}"


def _operations(version: str) -> Object:
    """That the server looks at fields itself, which is all that helm asks for."""
    group, _, number = version.rpartition("/")
    asked = [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}]
    paths = {
        f"/{_base(version)}/{plural}/{{name}}": {
            "patch": {
                "x-kubernetes-group-version-kind": {"group": group, "version": number, "kind": kind},
                "parameters": asked,
                "responses": {},
            }
        }
        for kind, plural, _ in KNOWN[version]
    }
    return {"openapi": "3.0.0", "info": {"title": "objects", "version": "v1"}, "paths": paths}


def _resources(version: str) -> Object:
    verbs = ["create", "delete", "get", "list", "patch", "update"]
    listed = [
        {"name": plural, "singularName": kind.lower(), "namespaced": namespaced, "kind": kind, "verbs": verbs}
        for kind, plural, namespaced in KNOWN[version]
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": listed}


def _place(path: str) -> Place:
    parts = path.strip("/").split("/")
    parts = ["v1", *parts[2:]] if parts[0] == "api" else ["/".join(parts[1:3]), *parts[3:]]
    match parts:
        case [version, "namespaces", namespace, plural, *name] if version in KNOWN:
            return Place(version, plural, namespace, *name)
        case [version, plural, *name] if version in KNOWN:
            return Place(version, plural, "", *name)
        case _:
            raise RefusedError(404, "NotFound", "the server could not find the requested resource")


def _merged(before: Any, given: Any) -> Any:
    """RFC 7396."""
    if not isinstance(given, dict):
        return given
    kept = dict(before) if isinstance(before, dict) else {}
    for key, value in given.items():
        if value is None:
            kept.pop(key, None)
        else:
            kept[key] = _merged(kept.get(key), value)
    return kept


@contextmanager
def object_server() -> Iterator[Objects]:
    objects = Objects()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"objects": objects}))
    objects.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield objects
    finally:
        server.shutdown()
        server.server_close()
