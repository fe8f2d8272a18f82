"""What operators change of Hopsworks clusters. A cluster's key is read where nobody sees it, and shown nowhere."""

import getpass
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
import typer
from psycopg.types.json import Jsonb

from pgfleet.console.connection import database
from pgfleet.console.pictures.parts import cell
from pgfleet.producers import assignment as producer
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.printable import typed
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import hopsworks as reads
from pgfleet.schema.rows.core import fetch
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.hopsworks import hopsworks_clusters

KEY_VARIABLE = "PGFLEET_HOPSWORKS_KEY"
ADD_EXAMPLE = "Example: pgfleet hopsworks add --name eu-1 --api-url https://eu-1.example.org --max-users 100"
# As the client sends it: one line of ASCII.
KEY = re.compile(r"[\x21-\x7e]{1,4096}")
URL = re.compile(r"https?://[^\s/?#@]+(/[^\s?#@]*)?")
NAME_LENGTH = 255
SEATS = 2**31 - 1
KUBECONFIG_BYTES = 1024 * 1024
_c = hopsworks_clusters.c
Given = Annotated[str, typer.Argument(metavar="CLUSTER", help="A cluster's name or id, or the beginning of it.")]


def add(  # noqa: PLR0913  # one parameter an option
    *,
    name: Annotated[str, typer.Option(help="A name for people, such as eu-1.")],
    api_url: Annotated[str, typer.Option(help="Where it is: https://..., without /hopsworks-api.")],
    max_users: Annotated[int, typer.Option(min=0, max=SEATS, help="How many seats it has.")] = 100,
    metadata_client_id: Annotated[
        str | None, typer.Option(help="The OAuth client of its accounts, unless that of the worker's settings.")
    ] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its kubeconfig, to measure what users use.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a cluster known. Its API key is asked for, or taken from $PGFLEET_HOPSWORKS_KEY."""
    name = _checked_name(name.strip())
    values = {
        "name": name,
        "api_url": _checked_url(api_url),
        "max_users": max_users,
        "metadata": Jsonb({"client_id": metadata_client_id} if metadata_client_id else {}),
        "kubeconfig": _contents(kubeconfig) if kubeconfig is not None else None,
    }
    with database() as conn:
        _refuse_known(conn, name)
        inserted = sa.insert(hopsworks_clusters).values(**values, api_key=_read_key()).returning(_c.id)
        cluster_id = str(fetch(conn, inserted)[0]["id"])
        _print_answer(reads.by_id(conn, cluster_id) or {}, "added", as_json=as_json)


def _checked_name(name: str) -> str:
    if not name or len(name) > NAME_LENGTH or not name.isprintable() or name.startswith("-"):
        raise FleetError(f"--name takes 1 to {NAME_LENGTH} printable characters, the first of them no -")
    return name


def _checked_url(url: str) -> str:
    """The error does not repeat the URL: a password may be in it."""
    if URL.fullmatch(url) is None:
        raise FleetError("--api-url takes http://HOST or https://HOST, perhaps with a path: no user, no password, no ?")
    return url.rstrip("/")


def _contents(kubeconfig: Path) -> str:
    """A file's text. It is a secret, so no error repeats any of it."""
    try:
        given = kubeconfig.read_bytes()
        text = given.decode("utf-8")
    except OSError as error:
        raise FleetError(f"--kubeconfig can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise FleetError("--kubeconfig is no text") from None
    if not text.strip() or "\0" in text or len(given) > KUBECONFIG_BYTES:
        raise FleetError(f"--kubeconfig takes a text of at most {KUBECONFIG_BYTES} bytes")
    return text


def _refuse_known(conn: Connection, name: str) -> None:
    found = fetch(conn, sa.select(_c.id).where(sa.func.lower(_c.name) == name.lower()))
    if found:
        raise Refusal(f"There is a Hopsworks cluster of the name {cell(name)} already: {found[0]['id']}.")


def _read_key() -> str:
    """From the environment, else typed without being shown. Never an option: those are in the shell's history.

    Raises:
        FleetError: there is nobody to ask, or it can't be a key.
    """
    key = (os.environ.get(KEY_VARIABLE) or _typed_key()).strip()
    if KEY.fullmatch(key) is None:
        raise FleetError("An API key is one line of letters, digits and punctuation; nothing was changed.")
    return key


def _typed_key() -> str:
    if not sys.stdin.isatty():
        raise FleetError(f"There is no terminal to ask for the API key on. Set {KEY_VARIABLE}.")
    try:
        with warnings.catch_warnings():
            # Of a terminal that would show what is typed.
            warnings.simplefilter("error", getpass.GetPassWarning)
            return getpass.getpass("API key of an administrator of the cluster: ")
    except (EOFError, getpass.GetPassWarning):
        raise FleetError(f"No key was given; nothing was changed. {KEY_VARIABLE} may hold it.") from None


def rekey(given: Given, *, as_json: AsJson = False) -> None:
    """Give a cluster another API key, asked for or from $PGFLEET_HOPSWORKS_KEY; it is tried at once."""
    with database() as conn:
        cluster = reads.resolve(conn, given)
        key = _read_key()
        changed = _update(conn, cluster["id"], _c.api_key != key, {"api_key": key})
        answer = "has another key" if changed else "has this key already"
        probed = ", which a running assignment worker tries now" if changed and cluster["breaker"]["open"] else ""
        _print_answer(cluster, answer + probed, as_json=as_json)


def _update(conn: Connection, cluster_id: str, but_for: sa.ColumnElement[bool], values: dict[str, Any]) -> list[Row]:
    mine = (_c.id == cluster_id, but_for)
    return fetch(conn, sa.update(hopsworks_clusters).where(*mine).values(values).returning(_c.status))


def drain(
    given: Given,
    *,
    move: Annotated[bool, typer.Option("--move", help="Move its users elsewhere, as far as there is room.")] = False,
    as_json: AsJson = False,
) -> None:
    """Close a cluster to new users; with --move its users go elsewhere."""
    with database() as conn:
        cluster = reads.resolve(conn, given)
        with conn.transaction():
            # One that is out of use takes nobody as it is.
            _update(conn, cluster["id"], _c.status != "inactive", {"status": "maintenance"})
            if move:
                producer.drain(cluster["id"], conn)
        seen, free = reads.by_id(conn, cluster["id"]) or cluster, reads.free_elsewhere(conn, cluster["id"])
    more = {"users": seen["assigned"], "free_elsewhere": free, "moving": move}
    _print_answer(seen, f"is in {seen['status']}: {_fate(seen, free, moving=move)}", as_json=as_json, **more)


def _fate(cluster: dict[str, Any], free: int, *, moving: bool) -> str:
    """What becomes of the users of a cluster that is drained."""
    users = cluster["assigned"]
    seats = f"{free} seat{'s are' if free != 1 else ' is'} free elsewhere"
    if not users:
        return f"nobody is on it; {seats}"
    are = f"{users} user{'s are' if users != 1 else ' is'} on it"
    if not moving:
        return f"{are} and stay{'s' * (users == 1)}; {seats}, and --move asks them to leave"
    rest = f": {users - free} stay until there is room" if users > free else ""
    return f"{are} and asked to leave; {seats}{rest}"


def reopen(given: Given, *, as_json: AsJson = False) -> None:
    """Let a cluster take new users again; one that has no free seat is full."""
    with database() as conn:
        cluster = reads.resolve(conn, given)
        _update(conn, cluster["id"], _c.status.not_in(("active", "full")), {"status": "active"})
        seen = reads.by_id(conn, cluster["id"]) or cluster
    _print_answer(seen, f"is {seen['status']}", as_json=as_json)


def _print_answer(cluster: dict[str, Any], what: str, *, as_json: bool, **more: Any) -> None:
    if as_json:
        shown = {name: cluster[name] for name in ("id", "name", "status", "max_users", "current_users")}
        print_json({**shown, "result": what, **more})
        return
    out().print(cell(f"{cluster['name']} {what}"))
    err().print(cell(f"See it: pgfleet hopsworks show {typed(cluster['name'], cluster['id'])}"))
