"""What is somebody else's: ids, beginnings of ids, names and keys of others tell nothing and open nothing."""

from typing import Any

import httpx
import pytest

from pgfleet.producers.http.sending import id_for_key
from worlds.api.server import Api
from worlds.fleet import new_id

ASKED = {"gpu_type": "h100", "gpu_count": 1, "duration_hours": 2}
PATH = "/v1/reservations"


@pytest.fixture
def of_mallory(api: Api) -> str:
    """The id of a reservation that is not ada's."""
    with api.as_user("mallory") as mallory:
        return str(mallory.post(PATH, json=ASKED).json()["id"])


def told(answer: httpx.Response) -> tuple[int, dict[str, Any]]:
    """What can be learned of an answer, but for the id that was asked for and how long it took."""
    return answer.status_code, {name: text for name, text in answer.json().items() if name != "detail"}


def tried(ada: httpx.Client, row_id: str) -> list[httpx.Response]:
    """All that can be asked about one reservation."""
    one = f"{PATH}/{row_id}"
    return [
        *(ada.get(f"{one}{more}") for more in ("", "/timeline", "/logs", "/events")),
        ada.delete(one),
        ada.post(f"{one}/extend", json={"extension_hours": 1}),
        ada.post(f"{one}/retry"),
        ada.put(f"{one}/jupyter"),
        ada.delete(f"{one}/jupyter"),
        ada.post(f"{one}/users", json={"github_username": "octocat"}),
    ]


def test_anothers_reservation_is_as_one_that_does_not_exist(api: Api, of_mallory: str) -> None:
    """By its id and by its beginning: the same status, the same words, and no message."""
    absent = new_id()
    with api.as_user("ada") as ada:
        theirs, none = tried(ada, of_mallory), tried(ada, absent)
        theirs_short, none_short = tried(ada, of_mallory[:8]), tried(ada, absent[:8])

    assert [told(each) for each in theirs] == [told(each) for each in none]
    assert [told(each) for each in theirs_short] == [told(each) for each in none_short]
    assert {each.status_code for each in theirs + theirs_short} == {404}
    assert [each.json()["detail"].replace(of_mallory, "X") for each in theirs] == [
        each.json()["detail"].replace(absent, "X") for each in none
    ]
    assert api.conn.execute("select count(*) from pgmq.q_gpu_reservations").fetchone() == (1,)


def test_an_id_that_is_anothers_is_used_and_nobody_is_told_by_whom(api: Api, of_mallory: str) -> None:
    with api.as_user("ada") as ada:
        answer = ada.post(PATH, json={**ASKED, "reservation_id": of_mallory})

    assert answer.status_code == 422
    assert "mallory" not in answer.text
    assert "Location" not in answer.headers


def test_the_same_key_of_two_users_is_two_reservations(api: Api) -> None:
    """A key that was overheard opens nothing, and keeps nobody from using it."""
    same = {"Idempotency-Key": "order-1"}
    with api.as_user("mallory") as mallory, api.as_user("ada") as ada:
        theirs = mallory.post(PATH, json=ASKED, headers=same)
        mine = ada.post(PATH, json={**ASKED, "gpu_count": 2}, headers=same)
        again = ada.post(PATH, json={**ASKED, "gpu_count": 2}, headers=same)

    assert (theirs.status_code, mine.status_code, again.status_code) == (202, 202, 202)
    assert theirs.json()["id"] != mine.json()["id"] == again.json()["id"]
    assert api.conn.execute("select count(*) from public.reservations").fetchone() == (2,)
    assert api.conn.execute("select count(*) from pgmq.q_gpu_reservations").fetchone() == (2,)


def test_a_key_that_was_used_for_something_else_is_refused(api: Api) -> None:
    same = {"Idempotency-Key": "order-1"}
    with api.as_user("ada") as ada:
        first = ada.post(PATH, json=ASKED, headers=same)
        other = ada.post(PATH, json={**ASKED, "gpu_count": 2}, headers=same)

    assert (first.status_code, other.status_code) == (202, 422)
    assert other.json()["type"] == "urn:pgfleet:problem:used-otherwise"


@pytest.mark.parametrize(
    ("one", "other"), [(("a", "b:c"), ("a:b", "c")), (("a", ""), ("", "a")), (("ada", "1"), ("ada1", ""))]
)
def test_names_and_keys_can_not_be_shifted_into_one_another(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert id_for_key(*one) != id_for_key(*other)


@pytest.mark.parametrize("user", ["mallory", "MALLORY", "boss", "", "ada\n", "pgfleet"])
def test_nobody_asks_in_the_name_of_another(shared: Api, user: str) -> None:
    with shared.as_user("mallory") as mallory:
        of_mallory = mallory.post(PATH, json=ASKED).json()["id"]
    with shared.as_user("ada") as ada:
        asked = ada.post(PATH, json={**ASKED, "user_id": user})
        cancelled = ada.request("DELETE", f"{PATH}/{of_mallory}", params={"user_id": user})

    assert asked.status_code in {400, 403}
    assert cancelled.status_code in {400, 404}


FORGED: tuple[dict[str, Any], ...] = (
    {"action": "cancel_reservation"},
    {"status": "active"},
    {"gpus_held": 8},
    {"node_index": 0, "total_nodes": 4},
    {"master_reservation_id": "4b0b8a52-7a5e-4b1f-9d52-000000000000"},
    {"forced_by": "ops"},
    {"held_since": None},
    {"retried_from": "x"},
    {"line_number": -1},
    {"created_at": "2000-01-01T00:00:00Z"},
    {"expires_at": "2100-01-01T00:00:00Z"},
    {"source": "worker"},
    {"ticket": 1},
    {"__proto__": {}},
)


@pytest.mark.parametrize("forged", FORGED, ids=lambda forged: next(iter(forged)))
def test_what_only_workers_say_is_refused_in_a_body(shared: Api, forged: dict[str, Any]) -> None:
    """Messages of our own workers have these; a person's has not."""
    with shared.as_user("ada") as ada:
        answer = ada.post(PATH, json={**ASKED, **forged})

    assert answer.status_code in {202, 400}
    if answer.status_code == 202:
        row = ada_row(shared, answer.json()["id"])
        assert (row["status"], row["gpus_held"], row["master_reservation_id"]) == ("pending", 0, None)
        raise AssertionError(f"{forged} is taken")


def ada_row(api: Api, row_id: str) -> dict[str, Any]:
    with api.as_user("ada") as ada:
        found: dict[str, Any] = ada.get(f"{PATH}/{row_id}").json()
    return found


OPERATORS_ONLY = (
    ("GET", "/v1/users"),
    ("POST", "/v1/users"),
    ("GET", "/v1/users/1"),
    ("PATCH", "/v1/users/1"),
    ("POST", "/v1/users/1/unlock"),
    ("GET", "/v1/keys?username=mallory"),
    ("DELETE", "/v1/keys/1"),
)


@pytest.mark.parametrize(("method", "path"), OPERATORS_ONLY)
def test_who_may_not_can_not_tell_what_there_is(shared: Api, method: str, path: str) -> None:
    """Of what exists and what does not, the answer is the same."""
    with shared.as_user("mallory"), shared.as_user("ada") as ada:
        there = ada.request(method, path, json={} if method in {"POST", "PATCH"} and "unlock" not in path else None)
        away = ada.request(
            method,
            path.replace("1", "999999").replace("mallory", "nobody-at-all").replace("v999999", "v1"),
            json={} if method in {"POST", "PATCH"} and "unlock" not in path else None,
        )

    assert there.status_code in {403, 404, 400}
    assert told(there) == told(away)
