"""`pgfleet keys` through the API."""

from pgfleet.console.commands.people import keys as local
from pgfleet.console.remote.client import api, path_of
from pgfleet.console.remote.rows import timed
from pgfleet.console.remote.swapping import swapped
from pgfleet.console.showing import print_result
from pgfleet.producers.submit.options import named_as_options
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.schema.printable import minute, printable


def list_keys(*, user: str | None, all_too: bool, most: int, as_json: bool) -> None:
    found = timed(api().pages("/v1/keys", most, username=user))
    local.print_keys(found, all_too=all_too, as_json=as_json)


def create(user: str, *, hours: float | None, description: str, as_json: bool) -> None:
    with named_as_options({"hours": "--hours", "description": "--description", "username": "USER"}):
        made = timed(api().post("/v1/keys", {"username": user, "hours": hours, "description": description}))
    if as_json:
        print_json({name: made[name] for name in ("key_id", "username", "key", "expires_at")})
        return
    err().print(f"key {made['key_id']} of {printable(user)}, until {minute(made['expires_at'])}\n{local.ONCE}")
    out().print(made["key"], soft_wrap=True)


def revoke(which: str, *, as_json: bool) -> None:
    api().delete(path_of("keys", which))
    print_result("key", f"key {which}", "revoked", as_json=as_json)


KEYS = swapped("keys", local.app, {"ls": list_keys, "create": create, "revoke": revoke})
