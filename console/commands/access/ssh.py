"""`pgfleet ssh`: into a reservation; or what ssh, VS Code and rsync have to know to get there."""

import os
import re
from ipaddress import ip_address
from typing import Annotated

import typer

from pgfleet.console.commands.requests import Id
from pgfleet.console.connection import database
from pgfleet.console.examples import example
from pgfleet.producers.submit.commands import AsJson, User
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.printable import printable
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reservation import Status
from pgfleet.schema.rows.row import Row

LOGIN = "dev"
# What a file of ssh takes as a name, and nothing that is more than a name.
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@example("pgfleet ssh 3f2a9c1e -- nvidia-smi")
def ssh(
    given: Id,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[-- COMMAND]", help="What to run there instead of a shell.")
    ] = None,
    *,
    config: Annotated[bool, typer.Option("--config", help="Print a Host block for ~/.ssh/config instead.")] = False,
    user: User = None,
    as_json: AsJson = False,
) -> None:
    """Go into an active reservation by SSH.

    ssh knows each reservation by the name of its pod: no warning comes where its port was another's before.
    """
    with database() as conn:
        row = reads.resolve(conn, given, user or default_user())
        short = reads.short(conn, row["reservation_id"])
    if row["status"] != Status.ACTIVE:
        raise Refusal(f"It is {row['status']}: one gets in while it is active. See: pgfleet watch {short}")
    options = _options(row)
    if as_json:
        print_json({"reservation_id": row["reservation_id"], "host": _alias(row, short), **options})
    elif config:
        _print_block(_alias(row, short), options)
    else:
        _go([*_arguments(options), *(command or ())])


def _options(row: Row) -> dict[str, str]:
    """As a file of ssh has them. Addresses are checked: ssh would obey one that is an option of its own."""
    host = str(row["fqdn"] or row["node_ip"] or "")
    if not _is_host(host) or row["node_port"] is None:
        raise Refusal(f"Its address can't be used: {printable(host or 'there is none')}")
    return {
        "HostName": host,
        "Port": str(row["node_port"]),
        "User": LOGIN,
        "HostKeyAlias": str(row["pod_name"]),
        "StrictHostKeyChecking": "accept-new",
    }


def _is_host(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return all(PLAIN.fullmatch(label) for label in host.split("."))
    return True


def _alias(row: Row, short: str) -> str:
    name = row["name"] or ""
    return name if PLAIN.fullmatch(name) else f"pgfleet-{short}"


def _print_block(alias: str, options: dict[str, str]) -> None:
    lines = [f"Host {alias}", *(f"  {name} {value}" for name, value in options.items())]
    out().print("\n".join(lines), soft_wrap=True, markup=False, highlight=False)
    err().print(
        f"In ~/.ssh/config it is for: ssh {alias}; code --remote ssh-remote+{alias} /workspace; rsync -a . {alias}:"
    )


def _arguments(options: dict[str, str]) -> list[str]:
    rest = {name: value for name, value in options.items() if name not in ("HostName", "Port", "User")}
    given = [part for name, value in rest.items() for part in ("-o", f"{name}={value}")]
    return ["ssh", "-p", options["Port"], *given, f"{options['User']}@{options['HostName']}"]


def _go(arguments: list[str]) -> None:
    """This process becomes ssh.

    Raises:
        FleetError: there is no ssh here.
    """
    try:
        os.execvp(arguments[0], arguments)  # noqa: S606  # no shell: each argument is one
    except FileNotFoundError:
        raise FleetError(
            "There is no program called ssh here. `pgfleet ssh --config` prints what another needs."
        ) from None
