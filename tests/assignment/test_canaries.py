"""Secrets stay where they are: whatever a server does with a key, nothing that is kept or logged holds it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pgfleet.schema.settings import read_settings
from worlds.assignments import KEY, Place, World
from worlds.network.hostile import Hostile, drips, hostile_server

ADA = "auth0|ada"
QUOTED = json.dumps(KEY)
# As JSON may spell it, too.
SPELT = "".join(f"\\u{ord(letter):04x}" for letter in KEY)
USER: dict[str, Any] = {"id": 7, "username": "ada", "email": "ada@example.com", "accountType": "REMOTE_ACCOUNT_TYPE"}
PLACES_OF_SECRETS = ("api_key", "kubeconfig")


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    with hostile_server() as server:
        yield server


@pytest.fixture
def place(world: World, hostile: Hostile) -> Place:
    """A cluster of such a server."""
    here = world.place(name=f"hostile-{hostile.url.rpartition(':')[2]}")
    here.change(api_url=hostile.url, kubeconfig=f"a kubeconfig with {KEY}")
    return here


def kept(world: World) -> str:
    """All that the database holds, but for where keys belong."""
    tables = world.conn.execute(
        "select format('%I.%I', table_schema, table_name) from information_schema.tables"
        " where table_type = 'BASE TABLE' and table_schema in ('public', 'hopsworks', 'pgmq', 'autoscaler')"
    ).fetchall()
    hidden = "".join(f" - '{name}'" for name in PLACES_OF_SECRETS)
    rows = [world.one(f"select coalesce(json_agg(to_jsonb(t){hidden})::text, '') from {name} t") for (name,) in tables]
    return "\n".join(rows)


def lists(**fields: Any) -> bytes:
    return json.dumps({"count": 1, "items": [USER | fields]}).encode()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (f'{{"errorCode": 1, "usrMsg": {QUOTED}}}'.encode(), "400 Bad"),
        (f'{{"errorCode": 1, "usrMsg": "{SPELT}"}}'.encode(), "400 Bad"),
        (f'{{"errorCode": {QUOTED}, "errorMsg": {QUOTED}}}'.encode(), "401 No"),
        (f'{{"errorMsg": {QUOTED}}}'.encode(), f"500 {KEY}"),
        (f"<html>{KEY}".encode(), "200 OK"),
        (lists(username=KEY), "200 OK"),
        (lists(accountType=KEY), "200 OK"),
        (lists(email=f"ada@example.com{KEY}"), "200 OK"),
        (lists(id=7, username=f"x{KEY}x"), "200 OK"),
        (b"", f"302 {KEY}"),
        (b"", "429 Busy"),
    ],
    ids=lambda value: str(value)[:40].replace(KEY, "key"),
)
def test_a_server_that_quotes_the_key_tells_nobody(
    world: World, place: Place, hostile: Hostile, capsys: pytest.CaptureFixture[str], body: bytes, status: str
) -> None:
    hostile.says(body, f"X-You-Said: {KEY}", f"Location: http://x/{KEY}", f"Retry-After: {KEY}", status=status)
    world.users(ADA)

    world.tell("assign", ADA)
    world.later(120)

    logged = capsys.readouterr()
    assert hostile.asked, "it was asked"
    assert KEY not in kept(world)
    assert KEY not in logged.out + logged.err
    assert place.row["api_key"] == KEY


def test_a_server_that_breaks_off_is_told_without_the_key(
    world: World, place: Place, hostile: Hostile, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile.answer = drips(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + KEY.encode()[:3])
    world.users(ADA)

    with world.impatient() as impatient:
        world.ask("assign", ADA)
        impatient.worker.run_until(lambda: place.outage is not None)

    logged = capsys.readouterr()
    assert KEY not in kept(world) + logged.out + logged.err


def test_settings_do_not_show_what_is_secret() -> None:
    settings = read_settings(
        DATABASE_URL=f"postgresql://ada:{KEY}@db/fleet", ssh_keys_proxy=f"http://ada:{KEY}@proxy:3128"
    )

    assert KEY not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
