"""The pod template of the settings: read and checked when a worker starts, so that no reservation finds out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client
from pydantic import ValidationError

from pgfleet.schema.errors import FleetError
from pgfleet.schema.settings import Settings
from pgfleet.workers.clients.kubernetes.names import CONTAINER
from pgfleet.workers.clients.kubernetes.template.allowed import SYSTEM, mistakes

VARIABLE = "PGFLEET_POD_TEMPLATE"


@dataclass(frozen=True, slots=True)
class Template:
    """What every pod has from the settings. `pod` is a part of a pod, as the API server reads it."""

    image: str
    namespace: str
    pod: Mapping[str, Any] = field(default_factory=dict)


def read_template(settings: Settings) -> Template:
    """The template of a worker's settings.

    Raises:
        FleetError: it can't be used; the message has its path, and each field with what is wrong with it.
    """
    pod = {} if settings.pod_template is None else _read(Path(settings.pod_template))
    if settings.priority_class is not None:
        if settings.priority_class.startswith(SYSTEM):
            raise FleetError(f"PGFLEET_PRIORITY_CLASS: classes called {SYSTEM}... are for the cluster itself")
        spec = pod.get("spec") or {}
        if spec.get("priorityClassName", settings.priority_class) != settings.priority_class:
            raise FleetError(
                f"{VARIABLE} has priorityClassName {spec['priorityClassName']} and PGFLEET_PRIORITY_CLASS is "
                f"{settings.priority_class}: set one of them."
            )
        pod = {**pod, "spec": {**spec, "priorityClassName": settings.priority_class}}
    return Template(settings.pod_image, settings.namespace, pod)


def _read(path: Path) -> dict[str, Any]:
    try:
        given = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise FleetError(f"{VARIABLE}: {path} can't be read: {error}") from None
    except yaml.YAMLError as error:
        raise FleetError(f"{VARIABLE}: {path} is neither YAML nor JSON: {error}") from None
    if not isinstance(given, dict):
        raise FleetError(f"{VARIABLE}: {path} has no object in it, but a pod is one: metadata, spec")
    try:
        pod = _as_pod(given)
        wrong = list(mistakes(pod))
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        wrong = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems]
    if wrong:
        listed = "\n".join(f"  {each}" for each in wrong)
        raise FleetError(f"{VARIABLE}: {path} is no template for pods:\n{listed}")
    return {part: pod[part] for part in ("metadata", "spec") if part in pod}


def _as_pod(given: dict[str, Any]) -> dict[str, Any]:
    """As the client's own model of a pod reads it. A template need not have a container, a pod has to.

    Raises:
        ValidationError: it has a field that a pod has not, or a value of another type.
    """
    spec = given.get("spec") or {}
    whole = {**given, "spec": {"containers": [{"name": CONTAINER}], **spec}} if isinstance(spec, dict) else given
    pod: dict[str, Any] = client.V1Pod.model_validate(_quoted(whole)).model_dump(by_alias=True, exclude_none=True)
    return pod


def _quoted(pod: dict[str, Any]) -> dict[str, Any]:
    """With quantities as text: Kubernetes takes `cpu: 4`, too."""
    return {key: _quoted_in(key, value) for key, value in pod.items()}


def _quoted_in(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        if key in ("limits", "requests"):
            return {name: str(amount) if _number(amount) else amount for name, amount in value.items()}
        return _quoted(value)
    if isinstance(value, list):
        return [_quoted_in("", each) for each in value]
    return value


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
