"""What any request may be and get: tags, methods, addresses, and bodies and parameters that can't be read."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from worlds.api.server import Api, api_on

PATH = "/v1/reservations"
ASKED = {"gpu_type": "h100", "gpu_count": 1, "duration_hours": 2}
JSON = {"Content-Type": "application/json"}
DEEP = b'{"gpu_type": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


def slug(answer: httpx.Response) -> str:
    """Of a problem document, what its type ends with."""
    body = answer.json()
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert body["status"] == answer.status_code
    assert body["title"]
    assert body["detail"]
    return str(body["type"]).removeprefix("urn:pgfleet:problem:")


@pytest.fixture(scope="module")
def running(fleet_dsn: str) -> Iterator[Api]:
    with api_on(fleet_dsn) as started:
        yield started


@pytest.fixture
def api(running: Api) -> Api:
    """One for all tests of this file, with nothing in its queue."""
    running.conn.execute("delete from pgmq.q_gpu_reservations")
    return running


def waiting(api: Api) -> int:
    row = api.conn.execute("select count(*) from pgmq.q_gpu_reservations").fetchone()
    assert row is not None
    return int(row[0])


def test_what_has_not_changed_is_not_sent_again(api: Api) -> None:
    """By its tag, weak or strong, among others; once the row has moved, it is sent."""
    with api.as_user() as ada:
        href = ada.post(PATH, json=ASKED).headers["Location"]
        first = ada.get(href)
        tag = first.headers["ETag"]

        same = [ada.get(href, headers={"If-None-Match": given}) for given in (tag, f'"other", W/{tag}', "*")]
        other = ada.get(href, headers={"If-None-Match": '"other"'})
        api.conn.execute("update public.reservations set status = 'cancelled'")
        moved = ada.get(href, headers={"If-None-Match": tag})

    assert [(each.status_code, each.content, each.headers["ETag"]) for each in same] == [(304, b"", tag)] * 3
    assert (other.status_code, other.headers["ETag"]) == (200, tag)
    assert (moved.status_code, moved.json()["status"]) == (200, "cancelled")


def test_head_is_a_get_without_its_body(api: Api) -> None:
    with api.as_user() as ada:
        got, head, missing = ada.get("/v1/me"), ada.head("/v1/me"), ada.head(f"{PATH}/nothing")

    assert (head.status_code, head.content, missing.status_code, missing.content) == (200, b"", 404, b"")
    assert head.headers["ETag"] == got.headers["ETag"]
    assert head.headers["Content-Length"] == got.headers["Content-Length"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "QUERY"])
def test_a_method_that_is_not_for_an_address_is_refused_with_those_that_are(api: Api, method: str) -> None:
    with api.as_user() as ada:
        answer = ada.request(method, "/v1/me")

    assert (answer.status_code, slug(answer)) == (405, "method-not-allowed")
    assert answer.headers["Allow"] == "GET, HEAD"


def test_a_stream_has_no_head(api: Api) -> None:
    """It would be held open for a client that reads nothing of it."""
    with api.as_user() as ada:
        head, put = ada.head("/v1/events"), ada.put("/v1/events")

    assert (head.status_code, put.status_code, put.headers["Allow"]) == (405, 405, "GET")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("machine=reservatoin", "machine: reservatoin is not known; did you mean reservation"),
        ("machine=disk&to=failover", "to: failover is not known"),
    ],
)
def test_a_stream_of_what_never_comes_is_refused(api: Api, query: str, said: str) -> None:
    with api.as_user() as ada:
        answer = ada.get(f"/v1/events?{query}")

    assert (answer.status_code, slug(answer)) == (400, "bad-request")
    assert said in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nothing", "/v1/me/", "/v1/../v1/nothing", "//v1/me", "/v1/%00"])
def test_an_address_that_is_none_is_a_problem(api: Api, path: str) -> None:
    with api.as_user() as ada:
        answer = ada.get(path)

    assert (answer.status_code, slug(answer)) == (404, "not-found")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""])
def test_a_body_that_says_it_is_no_json_is_not_taken(api: Api, kind: str) -> None:
    with api.as_user() as ada:
        answer = ada.post(PATH, content=b'{"gpu_type": "h100"}', headers={"Content-Type": kind})

    assert (answer.status_code, slug(answer)) == (415, "unsupported-media-type")


@pytest.mark.parametrize("name", ["If-Match", "If-Unmodified-Since"])
def test_what_says_when_not_to_write_is_refused_and_nothing_is_done(api: Api, name: str) -> None:
    with api.as_user() as ada:
        made = ada.post(PATH, json=ASKED, headers={name: "*"})
        ended = ada.delete(ada.post(PATH, json=ASKED).headers["Location"], headers={name: '"x"'})

    assert [(each.status_code, slug(each)) for each in (made, ended)] == [(400, "bad-request")] * 2
    assert waiting(api) == 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip"])
def test_a_body_that_is_compressed_is_not_taken(api: Api, encoding: str) -> None:
    with api.as_user() as ada:
        answer = ada.post(PATH, json=ASKED, headers={"Content-Encoding": encoding})
        plain = ada.post(PATH, json=ASKED, headers={"Content-Encoding": "identity"})

    assert (answer.status_code, slug(answer), plain.status_code) == (415, "unsupported-media-type", 202)


@pytest.mark.parametrize("target", ["http://fleet.example/v1/me", "HTTPS://fleet.example:443/v1/me?"])
def test_an_address_with_its_host_is_the_path_in_it(api: Api, target: str) -> None:
    """So a client asks that takes the API for a proxy."""
    with api.as_user() as ada:
        answer = ada.get("/v1/nothing", extensions={"target": target.encode()})

    assert (answer.status_code, answer.json()["username"]) == (200, "ada")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"1",
        b'{"gpu_type": "h100"} x',
        b'{"gpu_type": "h100", "gpu_count": 1, "gpu_count": 2}',
        b'{"gpu_type": "h100", "gpu_count": 1, "env_vars": {"A": "1", "A": "2"}}',
        b'{"gpu_type": "\xff"}',
        b"\xef\xbb\xbf\xff",
        b'{"gpu_type": "h\\u0000"}',
        b'{"gpu_type": "h\\ud800"}',
        b'{"h\\ud800": 1}',
        b'{"gpu_type": "h100", "environment": {"A": "\\u0000"}}',
        DEEP,
        b'{"gpu_type": "h100", "gpu_count": 1e999}',
        b'{"gpu_type": "h100", "gpu_count": NaN}',
        b'{"gpu_type": "h100", "gpu_count": -Infinity}',
        b'{"gpu_type": "h100", "gpu_count": ' + b"9" * 5000 + b"}",
        b'{"gpu_type": "h100", "gpu_count": 18446744073709551616}',
        b'{"gpu_type": "h100", "duration_hours": 1e308}',
        b'{"gpu_type": "h100", "nobody_knows_this": 1}',
        b'{"gpu_type": "h100", "gpu_count": true}',
        b'{"gpu_type": "h100", "gpu_count": 1, "duration_hours": true}',
        b'{"gpu_type": "h100", "gpu_count": "1"}',
        b'{"gpu_type": 100, "gpu_count": 1}',
    ],
    ids=lambda body: repr(body[:60]),
)
def test_a_body_that_can_not_be_used_is_a_problem_and_sends_nothing(api: Api, body: bytes) -> None:
    with api.as_user() as ada:
        answer = ada.post(PATH, content=body, headers=JSON)

    assert (answer.status_code, slug(answer), waiting(api)) == (400, "bad-request", 0)


@pytest.mark.parametrize(
    "query",
    [
        *("limit=1&limit=1", "limit=0", "limit=x", "limit=" + "9" * 5000, "limit=1e1", "limit=", "nothing=1", "=1"),
        *("username=%00", "username=%ff", "username=%ED%A0%80", "cursor=-1", "&".join(f"a{n}=1" for n in range(60))),
    ],
    ids=lambda query: query[:40],
)
def test_parameters_that_can_not_be_used_are_a_problem(api: Api, query: str) -> None:
    with api.as_user() as ada:
        answer = ada.get(f"/v1/keys?{query}")

    assert (answer.status_code, slug(answer)) == (400, "bad-request")


@pytest.mark.parametrize("given", ["a%00b", "%ED%A0%80", "%2e%2e", "%F0%9F%90%98", "9" * 500, "' or true --", "%25"])
def test_an_id_that_is_none_is_not_found_or_no_id(api: Api, given: str) -> None:
    """In every place where a path has one."""
    paths = [f"{PATH}/{given}", f"/v1/lines/{given}", f"/v1/disks/{given}", f"/v1/disks/data/operations/{given}"]
    with api.as_user("boss", "ADMIN") as boss:
        answers = [boss.get(path) for path in (*paths, f"/v1/users/{given}", f"/v1/dead-letters/{given}")]
        answers.append(boss.delete(f"/v1/keys/{given}"))

    assert {(each.status_code, slug(each)) for each in answers} <= {(404, "not-found"), (400, "bad-request")}


@pytest.mark.parametrize("name", ["Idempotency-Key", "Content-Type", "Authorization", "If-None-Match"])
def test_a_header_that_says_what_is_asked_is_taken_once(api: Api, name: str) -> None:
    headers = [("Authorization", f"Bearer {api.key_of('ada')}"), *JSON.items(), (name, "x"), (name, "y")]
    with api.with_key(None) as client:
        answer = client.post(PATH, json=ASKED, headers=headers)

    assert (answer.status_code, slug(answer), waiting(api)) == (400, "bad-request", 0)


@pytest.mark.parametrize("key", ["", '""', "x" * 201, b"\xc3\xa9", "a\tb"])
def test_an_idempotency_key_that_can_not_be_used_is_a_problem(api: Api, key: Any) -> None:
    with api.as_user() as ada:
        answer = ada.post(PATH, json=ASKED, headers={"Idempotency-Key": key})

    assert (answer.status_code, slug(answer), waiting(api)) == (400, "bad-request", 0)


def test_an_account_that_is_there_already_is_a_conflict(api: Api) -> None:
    """What the database says of it is for people, so it is told."""
    with api.as_user("boss", "ADMIN") as boss:
        made, again = (boss.post("/v1/users", json={"email": "eve@example.org"}) for _ in range(2))

    assert (made.status_code, again.status_code, slug(again)) == (201, 409, "conflict")
    assert "eve@example.org" in again.json()["detail"]


def test_fields_that_are_wrong_are_named(api: Api) -> None:
    """All of them, and not only the first."""
    with api.as_user() as ada:
        answer = ada.post(PATH, json={"gpu_type": 1, "gpu_count": -1, "nobody_knows_this": 1})

    assert {each["field"] for each in answer.json()["errors"]} == {"gpu_type", "gpu_count", "nobody_knows_this"}


@pytest.mark.parametrize(("given", "status"), [(b"2.0", 202), (b"2e0", 202), (b"2.5", 400), (b'"2"', 400)])
def test_a_whole_number_is_one_however_it_is_written(api: Api, given: bytes, status: int) -> None:
    """To JSON Schema, 2.0 is an integer."""
    with api.as_user() as ada:
        answer = ada.post(PATH, content=b'{"gpu_type": "h100", "gpu_count": ' + given + b"}", headers=JSON)

    assert answer.status_code == status


def test_a_disk_is_asked_for_by_its_name_alone(api: Api) -> None:
    """Its size is the one that the document gives as the default."""
    with api.as_user() as ada:
        answer = ada.post("/v1/disks", json={"disk_name": "by-name-alone"})

    sizes = api.conn.execute("select message->'size_gb' from pgmq.q_disk_operations").fetchall()
    assert (answer.status_code, len(sizes)) == (202, 1)
    assert sizes[0][0] > 0
