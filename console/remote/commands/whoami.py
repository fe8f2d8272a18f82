"""`pgfleet whoami` through the API."""

from collections.abc import Iterator
from typing import Any

from pgfleet.console.commands import whoami as local
from pgfleet.console.pictures.parts import facts
from pgfleet.console.remote.client import api
from pgfleet.console.remote.rows import timed
from pgfleet.console.remote.swapping import like
from pgfleet.console.showing import show
from pgfleet.schema.printable import minute


@like(local.whoami)
def whoami(*, as_json: bool) -> None:
    there = api()
    seen = timed(there.me)
    seen["api"] = there.url
    show(lambda: seen, lambda seen: facts(_facts(seen)), as_json=as_json)


def _facts(seen: dict[str, Any]) -> Iterator[tuple[str, object]]:
    yield "user", f"{seen['username']}: whose reservations and disks commands are about, unless --user"
    yield "api", seen["api"]
    yield "role", seen["role"]
    if seen["email"]:
        yield "e-mail", seen["email"]
    if seen["expires_at"] is not None:
        yield "until", minute(seen["expires_at"])
