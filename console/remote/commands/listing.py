"""`pgfleet ls` through the API."""

from pgfleet.console.commands import listing as local
from pgfleet.console.remote import rows
from pgfleet.console.remote.client import Api, api
from pgfleet.console.remote.following import described
from pgfleet.console.remote.swapping import like
from pgfleet.producers.submit.options import named_as_options
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.nearest import meant
from pgfleet.schema.printable import printable

OPTIONS = {"status": "--status", "gpu_type": "--gpu-type", "user_id": "--user"}


@like(local.reservations)
def reservations(  # noqa: PLR0913  # one parameter an option
    *,
    user: str | None,
    mine: bool,
    everybody: bool,
    status: str | None,
    gpu_type: str | None,
    ended_too: bool,
    most: int,
    as_json: bool,
) -> None:
    if mine and (everybody or user is not None):
        raise FleetError("--mine, --everybody and --user: give one of them.")
    there = api()
    whose = None if everybody or (ended_too and user is None and not mine) else user or there.username
    of_type = None if gpu_type is None else known_type(there, gpu_type)
    live = not ended_too and status is None
    with named_as_options(OPTIONS):
        filters = {"user_id": whose, "status": status, "gpu_type": of_type, "live": live or None}
        found = [rows.reservation(row) for row in there.pages("/v1/reservations", most, **filters)]
    if as_json:
        print_json(found)
    elif found:
        out().print(local.table_of((row, described(row, there)) for row in found))
    else:
        err().print(local.none_of(whose, ended_too=ended_too))


def known_type(there: Api, given: str) -> str:
    """The name of a type, letter case aside.

    Raises:
        Refusal: there is none; the text names the nearest.
    """
    known = {row["gpu_type"]: row for row in there.get("/v1/gpu-types")["items"]}
    name = given.strip().lower()
    if name not in known:
        raise Refusal(f"There is no GPU type {printable(given)}. {meant(name, known)}")
    return name
