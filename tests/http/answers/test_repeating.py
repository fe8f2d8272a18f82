"""POSTs with an `Idempotency-Key`: each is done once, and who asks the same again is answered as the first was."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest

from pgfleet.producers.http.endpoint import Endpoint
from pgfleet.producers.http.permissions import whose
from pgfleet.producers.http.serving import endpoints
from pgfleet.schema.asking import Role, Whose
from worlds.api.cells import PARAMETER, line_of, way_of
from worlds.api.server import Api, api_on
from worlds.fleet import until

RESERVATIONS, KEYS, SCHEDULES, USERS = "/v1/reservations", "/v1/keys", "/v1/schedules", "/v1/users"
ASKED = {"gpu_type": "h100", "gpu_count": 1, "duration_hours": 2}
DONE_ONCE = [each for each in endpoints() if each.is_done_once]


@pytest.fixture(scope="module")
def running(fleet_dsn: str) -> Iterator[Api]:
    with api_on(fleet_dsn) as started:
        # Before the document's example of an account takes her e-mail.
        started.key_of("ada")
        yield started


@pytest.fixture
def api(running: Api) -> Api:
    """One for all tests of this file, in which nobody has asked for anything yet."""
    running.conn.execute("truncate public.requests_answered, autoscaler.audit_logs")
    return running


def keyed(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


def slug(answer: httpx.Response) -> str:
    return str(answer.json()["type"]).removeprefix("urn:pgfleet:problem:")


def count(api: Api, of: str) -> int:
    row = api.conn.execute(f"select count(*) from {of}").fetchone()
    assert row is not None
    return int(row[0])


def all_rows(api: Api) -> dict[str, int]:
    """How many rows each table has, and each queue: whatever an endpoint writes, it is here."""
    tables = api.conn.execute(
        "select format('%I.%I', schemaname, relname) from pg_stat_user_tables where relname !~ '_p2[0-9]+$' order by 1"
    ).fetchall()
    return {table: count(api, table) for (table,) in tables}


def way_to(api: Api, endpoint: Endpoint) -> tuple[str, Any]:
    """The address and the body of a request that can be done."""
    way = way_of(endpoint)
    assert way is not None, line_of(endpoint)
    ids = way.row(api, "ada") if way.row else {}
    body = None if endpoint.takes is None else way.body(api, "ada") if way.body else dict(endpoint.example or {})
    return PARAMETER.sub(lambda found: ids[found[1]], endpoint.path), body


@pytest.mark.parametrize("endpoint", DONE_ONCE, ids=lambda each: each.name)
def test_the_same_again_is_answered_as_the_first_was_and_changes_nothing(api: Api, endpoint: Endpoint) -> None:
    """Each POST that changes something: status, body and Location are the same, and no table has another row."""
    path, body = way_to(api, endpoint)
    with api.as_user("boss", "ADMIN") as boss:
        first = boss.post(path, json=body, headers=keyed(f"k-{endpoint.name}"))
        before = all_rows(api)
        again = boss.post(path, json=body, headers=keyed(f"k-{endpoint.name}"))

    assert first.status_code < 300 or first.status_code == 409, first.text
    assert all_rows(api) == before or first.status_code == 409
    if endpoint.lost is None or first.status_code == 409:
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert again.headers.get("Location") == first.headers.get("Location")
    else:
        assert (again.status_code, slug(again)) == (409, "shown-once")
        assert not [name for name in ("key", "secret") if first.json().get(name, "\0") in again.text]


def test_what_is_shown_once_is_never_stored_and_the_repeat_says_what_to_do(api: Api) -> None:
    """When it was done, what its id is, and how to come by another."""
    with api.as_user() as ada:
        first = ada.post(KEYS, json={"hours": 1}, headers=keyed("one"))
        again = ada.post(KEYS, json={"hours": 1}, headers=keyed("one"))

    made, told = first.json(), again.json()
    (stored,) = api.conn.execute("select r::text from public.requests_answered r").fetchall()
    assert (first.status_code, again.status_code, slug(again)) == (201, 409, "shown-once")
    assert f"its id is {made['key_id']}" in told["detail"]
    assert told["hint"].startswith(f"Revoke it (DELETE /v1/keys/{made['key_id']})")
    assert made["key"] not in stored[0] + again.text
    assert "Retry-After" not in again.headers


def test_every_answer_with_a_key_in_it_says_what_to_do_where_it_was_lost() -> None:
    """By the field that all of them call it, so that none is stored by mistake."""
    secret = {"key", "password", "secret", "token"}
    with_secrets = {each.name for each in DONE_ONCE if each.gives and secret & {*each.gives.model_fields}}

    assert with_secrets == {each.name for each in endpoints() if each.lost is not None}
    assert with_secrets >= {"create_key", "create_node", "rotate_node_key", "add_cluster_node"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (RESERVATIONS, {**ASKED, "gpu_count": 2}),
        ("/v1/disks", {"disk_name": "data"}),
        (KEYS, {"hours": 1}),
        (f"{RESERVATIONS}/{{id}}/extend", {"extension_hours": 1}),
    ],
    ids=str,
)
def test_the_same_key_with_another_request_is_used_otherwise(api: Api, path: str, body: dict[str, Any]) -> None:
    """Another body, another address, or another row."""
    with api.as_user() as ada:
        row_id = ada.post(RESERVATIONS, json=ASKED, headers=keyed("one")).json()["id"]
        before = all_rows(api)
        other = ada.post(path.format(id=row_id), json=body, headers=keyed("one"))

    after = all_rows(api)
    assert (other.status_code, slug(other)) == (422, "used-otherwise")
    assert "create_reservation" in other.json()["detail"]
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {
        "autoscaler.audit_logs": 1
    }


def test_the_same_key_for_another_row_is_used_otherwise(api: Api) -> None:
    """The address is part of what is asked."""
    with api.as_user() as ada:
        ids = [ada.post(RESERVATIONS, json=ASKED).json()["id"] for _ in range(2)]
        first, other = (
            ada.post(f"{RESERVATIONS}/{row_id}/extend", json={"extension_hours": 1}, headers=keyed("more"))
            for row_id in ids
        )

    assert (first.status_code, other.status_code, slug(other)) == (202, 422, "used-otherwise")


@pytest.mark.parametrize(
    "again",
    [
        b'{"duration_hours":2.0,"gpu_count":1,"gpu_type":"h100"}',
        b' {"gpu_type" : "h\\u0031\\u0030\\u0030","gpu_count":1,"duration_hours":2}',
    ],
)
def test_a_body_is_the_same_however_it_is_written(api: Api, again: bytes) -> None:
    headers = {**keyed("one"), "Content-Type": "application/json"}
    with api.as_user() as ada:
        first = ada.post(RESERVATIONS, json=ASKED, headers=keyed("one"))
        second = ada.post(RESERVATIONS, content=again, headers=headers)

    assert (second.status_code, second.json()) == (202, first.json())


def test_another_password_is_another_request_and_no_quick_hash_of_it_is_kept(api: Api) -> None:
    """Nor the key itself: a client may have made it of anything."""
    asked = {"email": "eve@example.org", "username": "eve", "password": "correct horse"}
    with api.as_user("boss", "ADMIN") as boss:
        first = boss.post(USERS, json=asked, headers=keyed("order-1"))
        again = boss.post(USERS, json=asked, headers=keyed("order-1"))
        other = boss.post(USERS, json={**asked, "password": "another"}, headers=keyed("order-1"))

    (stored,) = api.conn.execute("select r::text from public.requests_answered r").fetchall()
    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 422)
    assert again.content == first.content
    assert not {"order-1", "correct horse"} & {part for part in ("order-1", "correct horse") if part in stored[0]}


def test_two_principals_with_the_same_key_never_meet(api: Api) -> None:
    with api.as_user("ada") as ada, api.as_user("mallory") as mallory:
        mine = ada.post(KEYS, json={"hours": 1}, headers=keyed("same"))
        theirs = mallory.post(KEYS, json={"hours": 1}, headers=keyed("same"))

    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.json()["key_id"] != theirs.json()["key_id"]


def test_what_was_refused_may_be_asked_again_with_the_same_key(api: Api) -> None:
    """Nothing was done, so nothing is kept."""
    asked = {"email": "twice@example.org"}
    with api.as_user("boss", "ADMIN") as boss:
        made = boss.post(USERS, json=asked).json()["id"]
        refused = boss.post(USERS, json=asked, headers=keyed("again"))
        api.conn.execute("delete from autoscaler.users where id = %s", (made,))
        done = boss.post(USERS, json=asked, headers=keyed("again"))

    assert (refused.status_code, done.status_code) == (409, 201)


def held(api: Api, do: Callable[[psycopg.Connection[Any]], object]) -> psycopg.Connection[Any]:
    """A session that keeps whoever makes a key from ending."""
    holder = psycopg.connect(api.conn.info.dsn, password=api.conn.info.password or None)
    do(holder)
    return holder


def test_the_same_at_the_same_time_is_done_once(api: Api) -> None:
    """The second waits for a moment, and is told to ask again; then the first is done, and the repeat says so."""
    api.key_of("ada")
    keys_before = count(api, "public.api_keys")
    blocked = "select from pg_stat_activity where wait_event_type = 'Lock' and query ~ 'note_answered|make_key'"
    with (
        api.as_user() as ada,
        ThreadPoolExecutor(1) as pool,
        held(api, lambda conn: conn.execute("lock table public.api_keys in share mode")) as holder,
    ):
        first = pool.submit(ada.post, KEYS, json={"hours": 1}, headers=keyed("one"))
        until(lambda: api.conn.execute(blocked).fetchone() is not None)
        second = ada.post(KEYS, json={"hours": 1}, headers=keyed("one"))
        holder.rollback()
        done = first.result()
        again = ada.post(KEYS, json={"hours": 1}, headers=keyed("one"))

    assert (second.status_code, slug(second), second.headers["Retry-After"]) == (409, "still-asked", "1")
    assert (done.status_code, again.status_code, slug(again)) == (201, 409, "shown-once")
    assert count(api, "public.api_keys") == keys_before + 1


def test_many_at_the_same_time_are_one(api: Api) -> None:
    with api.as_user() as ada, ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ada.post, RESERVATIONS, json=ASKED, headers=keyed("one")) for _ in range(24)]
        answers = [each.result() for each in asking]

    ids = {each.json()["id"] for each in answers if each.status_code == 202}
    assert {each.status_code for each in answers} <= {202, 409}
    assert len(ids) == 1
    assert count(api, "public.requests_answered") == 1


def test_the_id_of_what_is_made_can_not_be_foreseen(api: Api) -> None:
    """The same user, key and request, in another life of the database, is another id: nobody can take it beforehand."""
    ids = set()
    with api.as_user() as ada:
        for _ in range(2):
            ids.add(ada.post(RESERVATIONS, json=ASKED, headers=keyed("order-1")).json()["id"])
            ids.add(ada.post("/v1/disks", json={"disk_name": f"d{len(ids)}"}, headers=keyed("order-2")).json()["id"])
            api.conn.execute("truncate public.requests_answered")

    assert len(ids) == 4


def test_an_answer_is_kept_for_a_day_and_then_pruned(api: Api) -> None:
    """By who keeps the house, as other rows."""
    with api.as_user() as ada:
        ada.post(RESERVATIONS, json=ASKED, headers=keyed("old"))
        ada.post(RESERVATIONS, json=ASKED, headers=keyed("young"))
    api.conn.execute(
        "update public.requests_answered set asked_at = asked_at - interval '25 hours' "
        "where key_hash = encode(sha256('old'), 'hex')"
    )
    api.conn.execute("update public.retention set next_at = '-infinity' where table_name = 'public.requests_answered'")

    api.conn.execute("select public.keep_house()")

    left = api.conn.execute("select key_hash = encode(sha256('young'), 'hex') from public.requests_answered").fetchall()
    assert left == [(True,)]


def test_a_node_has_no_requests_that_are_done_once() -> None:
    """Its heartbeats have an id of their own."""
    assert {each.name for each in DONE_ONCE if whose(each.permission, Role.NODE) != Whose.NOBODYS} == set()


def test_the_header_is_offered_where_it_is_honoured(api: Api) -> None:
    """By POSTs that change something of somebody's: no GET, PUT, DELETE, and none that changes nothing."""
    with api.as_user() as ada:
        paths = ada.get("/openapi.json").json()["paths"]

    offered = {
        operation["operationId"]
        for methods in paths.values()
        for operation in methods.values()
        if any(each["name"] == "Idempotency-Key" for each in operation.get("parameters", []))
    }
    posts = {each.name for each in endpoints() if each.method == "POST"}
    assert offered == {each.name for each in DONE_ONCE}
    assert posts - offered == {"try_reservation", "send_heartbeat", "sign_in"}
