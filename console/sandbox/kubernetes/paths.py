"""Addresses of resources: which resource, namespace, object and subresource a path means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.refusals import RefusedError
from pgfleet.console.sandbox.kubernetes.resources import RESOURCES, Resource

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.store import Key

PREFIXES = {
    f"/apis/{resource.api_version}/" if resource.group else "/api/v1/": resource.group
    for resource in RESOURCES.values()
}


@dataclass(frozen=True, slots=True)
class Target:
    """An empty `namespace` is the cluster or all namespaces, an empty `name` the collection."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def key(self) -> Key:
        return (self.resource.plural, self.namespace, self.name)


def parse_path(path: str) -> Target:
    """Raises `RefusedError` (404) for a path that leads to no resource."""
    prefix = next(each for each in PREFIXES if path.startswith(each))
    parts = path.removeprefix(prefix).rstrip("/").split("/")
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    resource = RESOURCES.get(parts[0])
    if resource is None or resource.group != PREFIXES[prefix]:
        raise RefusedError(404, "the server could not find the requested resource")
    if len(parts) > 3 or (namespace and not resource.namespaced):
        raise RefusedError(404, "the server could not find the requested resource")
    name, subresource = (*parts[1:], "", "")[:2]
    if name and resource.namespaced and not namespace:
        raise RefusedError(404, "the server could not find the requested resource")
    return Target(resource, namespace, name, subresource)
