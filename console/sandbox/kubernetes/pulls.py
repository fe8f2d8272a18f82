"""Pulling a pod's images: slowly, not now, or never.

ContainerCreating ----> ErrImagePull <----> ImagePullBackOff      tried again after 10 s, 20 s, ... 5 min
        |                    |
        +--------------------+----> pulled
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.recorder import Notice
from pgfleet.console.sandbox.kubernetes.situations import Step, nothing, pauses
from pgfleet.console.sandbox.kubernetes.statuses import running, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfleet.console.sandbox.kubernetes.situations import Situation

UNPACK = 'failed to pull and unpack image "{image}": '
MANIFEST = "https://{registry}/v2/{path}/manifests/{tag}"
# The words of containerd; `manifest unknown` is CRI-O's.
MISSING = f"rpc error: code = NotFound desc = {UNPACK}failed to resolve image: {{image}}: not found"
UNKNOWN = "rpc error: code = Unknown desc = reading manifest {tag} in {registry}/{path}: manifest unknown"
DENIED = (
    f"rpc error: code = Unknown desc = {UNPACK}failed to resolve image: pull access denied, repository does not exist"
    " or may require authorization: server message: insufficient_scope: authorization failed"
)
THROTTLED = (
    f"rpc error: code = Unknown desc = {UNPACK}failed to resolve image: unexpected status from HEAD request to"
    f" {MANIFEST}: 429 Too Many Requests\ntoomanyrequests: You have reached your unauthenticated pull rate limit."
    " https://www.docker.com/increase-rate-limit"
)
AWAY = (
    f"rpc error: code = Unknown desc = {UNPACK}failed to resolve image: unexpected status from HEAD request to"
    f" {MANIFEST}: 503 Service Unavailable"
)


def quick(at: Situation) -> Iterator[Step]:
    """The images are there, and so the containers start."""
    yield Step(at.delay_s, running, started(at))


def slow(at: Situation) -> Iterator[Step]:
    """The reason stays ContainerCreating: that an image is being pulled is only in an event."""
    yield Step(0, nothing, _pulling(at))
    yield Step(at.trouble_s or 0, nothing, (_pulled(at),))
    yield from quick(at)


def refused(at: Situation, words: str) -> Iterator[Step]:
    """Tried again and again, for as long as the trouble lasts."""
    first = at.images[0]
    error = words.format(image=_full(first), **_parts(first))
    failed = _failing("ErrImagePull", error, Notice("Warning", "Failed", f'Failed to pull image "{first}": {error}'))
    back_off = f'Back-off pulling image "{first}"'
    backing_off = _failing(
        "ImagePullBackOff", f"{back_off}: ErrImagePull: {error}", Notice("Normal", "BackOff", back_off)
    )
    gone_s = 0.0
    for pause_s in pauses():
        yield Step(at.delay_s, failed[0], (*_pulling(at), *failed[1]))
        yield Step(at.delay_s, *backing_off)
        pause_s = pause_s * at.second_s  # noqa: PLW2901  # in our seconds from here on
        rest_s = pause_s if at.trouble_s is None else min(pause_s, at.trouble_s - gone_s)
        yield Step(max(rest_s, 0), nothing)
        gone_s += rest_s + 2 * at.delay_s
        if at.trouble_s is not None and gone_s >= at.trouble_s:
            break
    yield Step(0, nothing, (*_pulling(at), _pulled(at)))
    yield from quick(at)


def badly_named(at: Situation) -> Iterator[Step]:
    image = at.images[0]
    why = f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": invalid reference format'
    yield Step(at.delay_s, *_failing("InvalidImageName", why, Notice("Warning", "InspectFailed", why)))


def never_pulled(at: Situation) -> Iterator[Step]:
    why = f'Container image "{at.images[0]}" is not present with pull policy of Never'
    yield Step(at.delay_s, *_failing("ErrImageNeverPull", why, Notice("Warning", "ErrImageNeverPull", why)))


def started(at: Situation) -> tuple[Notice, ...]:
    created = (Notice("Normal", "Created", f"Created container: {name}") for name in at.names)
    begun = (Notice("Normal", "Started", f"Started container {name}") for name in at.names)
    return (*created, *begun)


def _failing(reason: str, message: str, notice: Notice) -> tuple[partial[None], tuple[Notice, ...]]:
    """Beside the event that has the words the kubelet writes one that has the reason."""
    return partial(waiting, reason=reason, message=message), (notice, Notice("Warning", "Failed", f"Error: {reason}"))


def _pulling(at: Situation) -> tuple[Notice, ...]:
    return (Notice("Normal", "Pulling", f'Pulling image "{at.images[0]}"'),)


def _pulled(at: Situation) -> Notice:
    took = f"{at.trouble_s or 0:g}s"
    words = (
        f'Successfully pulled image "{at.images[0]}" in {took} ({took} including waiting). Image size: 765432 bytes.'
    )
    return Notice("Normal", "Pulled", words)


def _full(image: str) -> str:
    parts = _parts(image)
    return f"{parts['registry'].replace('registry-1.', '')}/{parts['path']}:{parts['tag']}"


def _parts(image: str) -> dict[str, str]:
    """Where an image is looked for: what has no registry in its name is Docker's."""
    first, _, rest = image.partition("/")
    has_registry = bool(rest) and ("." in first or ":" in first or first == "localhost")
    registry, path = (first, rest) if has_registry else ("registry-1.docker.io", image)
    path, _, tag = path.partition(":")
    return {"registry": registry, "path": path if "/" in path else f"library/{path}", "tag": tag or "latest"}
