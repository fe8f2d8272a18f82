"""A request to the sandbox's AWS, as far as faults, listings and the log need it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

FORM = "application/x-www-form-urlencoded"
# The parameters that hold the id of what a request is about; the first one that is there counts.
ABOUT = (
    "VolumeId",
    "SnapshotId",
    "SourceSnapshotId",
    "ResourceId.1",
    "VolumeId.1",
    "SnapshotId.1",
    "Filter.1.Value.1",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """`name` is EC2's action, or the method and path of a request to S3, such as `PUT /bucket/key`."""

    name: str
    is_ec2: bool
    params: dict[str, list[str]]

    @property
    def about(self) -> str:
        return next((self.params[name][0] for name in ABOUT if name in self.params), "")

    @property
    def tally(self) -> str:
        """The name under which it is counted: for S3 the method alone."""
        return self.name if self.is_ec2 else self.name.partition(" ")[0]

    def first(self, name: str) -> str | None:
        return self.params.get(name, [None])[0]

    def listed(self, name: str) -> list[str]:
        """The values of `name.1`, `name.2` and so on."""
        found: list[str] = []
        while f"{name}.{len(found) + 1}" in self.params:
            found.append(self.params[f"{name}.{len(found) + 1}"][0])
        return found

    def filters(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        while (name := self.first(f"Filter.{len(found) + 1}.Name")) is not None:
            found[name] = self.listed(f"Filter.{len(found) + 1}.Value")
        return found


def read(environ: dict[str, Any]) -> Asked:
    """Read a request. The body of a form is put back, so that moto can read it too."""
    if environ.get("CONTENT_TYPE", "").startswith(FORM):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        params = parse_qs(body.decode(), keep_blank_values=True)
        return Asked(params.get("Action", [""])[0], is_ec2=True, params=params)
    path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
    return Asked(f"{environ['REQUEST_METHOD']} {path}", is_ec2=False, params={})
