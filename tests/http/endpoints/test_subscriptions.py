"""`/v1/subscriptions`: made with a secret that is shown once, followed by their deliveries, and ended."""

from collections.abc import Iterator

import httpx
import pytest

from pgfleet.schema.identity import keys
from pgfleet.workers.event.machine import KIND
from worlds.api.audited import audited
from worlds.api.server import Api
from worlds.events import Events
from worlds.fleet import move_clock, new_id, settings_for, worker_on
from worlds.receiver import Receiver

PATH = "/v1/subscriptions"


@pytest.fixture
def events(api: Api, dsn: str) -> Iterator[Events]:
    with worker_on(KIND, settings_for(dsn, events_may_reach="127.0.0.1")) as worker:
        yield Events(api.conn, worker)


@pytest.fixture
def ada(api: Api) -> Iterator[httpx.Client]:
    with api.as_user("ada") as client:
        yield client


def subscribe(client: httpx.Client, url: str, **wanted: object) -> dict[str, str]:
    made: dict[str, str] = client.post(PATH, json={"url": url, "machines": ["reservation"], **wanted}).json()
    return made


def test_it_is_there_at_once_and_active_when_a_worker_has_seen_it(
    api: Api, ada: httpx.Client, events: Events, receiver: Receiver
) -> None:
    """Its secret is in the one answer, and its address in none."""
    asked = ada.post(PATH, json={"url": f"{receiver.url}/hush-hush-hush", "states": ["queued"]})
    at_once = ada.get(asked.json()["href"])
    events.worker.run()
    then = ada.get(asked.json()["href"])
    same = ada.get(asked.json()["href"], headers={"If-None-Match": then.headers["ETag"]})

    assert (asked.status_code, asked.headers["Location"]) == (202, asked.json()["href"])
    assert (at_once.json()["status"], then.json()["status"], same.status_code) == ("pending", "active", 304)
    assert (then.json()["states"], then.json()["shown_url"]) == (["queued"], "127.0.0.1/hook/hush-h...")
    assert asked.json()["secret"].startswith("whsec_")
    listed = ada.get(PATH).text + ada.get(asked.json()["href"] + "/deliveries").text
    assert not [text for text in (listed, then.text) if "hush-hush" in text or asked.json()["secret"] in text]
    assert audited(api.conn, "SUBSCRIPTION_CREATED") == [(asked.json()["id"], "USER", "SUCCESS")]


def test_deliveries_are_shown_and_what_came_after_one_is_sent_again(
    ada: httpx.Client, events: Events, receiver: Receiver
) -> None:
    made = subscribe(ada, receiver.url)
    events.worker.run()
    rows = [events.make(), events.make()]
    for row_id in rows:
        events.look_at(made["id"])
        events.move(row_id, "queued")
    events.look_at(made["id"])
    deliveries = ada.get(made["href"] + "/deliveries").json()["items"]
    again = ada.post(made["href"] + "/send-again", json={"after": deliveries[-1]["after"]})
    events.worker.run()

    assert [(each["number"], each["result"], each["tries"]) for each in deliveries] == [
        (number, "delivered", 1) for number in (3, 2, 1)
    ]
    assert again.status_code == 202
    assert receiver.subjects == [*rows, *rows, *rows, *rows]
    assert all(got.is_signed_with(made["secret"]) for got in receiver.got)


def test_pages_go_on_where_they_were(ada: httpx.Client, events: Events) -> None:
    """By the cursor of the one before."""
    made = [subscribe(ada, "https://example.org/hook")["id"] for _ in range(3)]

    first = ada.get(PATH, params={"limit": 2}).json()
    second = ada.get(PATH, params={"limit": 2, "cursor": first["next"]}).json()

    ids = [each["subscription_id"] for page in (first, second) for each in page["items"]]
    assert (ids, second["next"]) == (made[::-1], None)


def test_a_delivery_that_fails_says_when_it_is_tried_again(
    ada: httpx.Client, events: Events, receiver: Receiver
) -> None:
    made = subscribe(ada, receiver.url)
    events.worker.run()
    events.make()
    receiver.status = 500
    events.look_at(made["id"])

    [delivery], row = ada.get(made["href"] + "/deliveries").json()["items"], ada.get(made["href"]).json()
    assert (delivery["result"], delivery["answer"], row["status"]) == ("failing", "500", "failing")
    assert delivery["next_try_at"] == row["next_try_at"] is not None


def test_it_is_tested_ended_and_resumed(api: Api, ada: httpx.Client, events: Events, receiver: Receiver) -> None:
    made = subscribe(ada, receiver.url)
    events.worker.run()
    ada.post(made["href"] + "/test")
    events.worker.run()
    answered = ada.get(made["href"]).json()["last_answer"]
    ended = ada.delete(made["href"])
    events.worker.run()
    off = ada.get(made["href"]).json()
    ada.post(made["href"] + "/resume")
    events.worker.run()

    assert (answered, ended.status_code, off["status"], off["status_reason"]) == (
        "test: 200",
        202,
        "off",
        "ended by ada",
    )
    assert ada.get(made["href"]).json()["status"] == "active"
    assert [event["type"] for got in receiver.got for event in got.events] == ["fleet.test"]


def test_with_a_key_it_is_made_once_and_its_secret_is_not_told_again(ada: httpx.Client, api: Api) -> None:
    """Nor kept where answers are."""
    keyed = {"Idempotency-Key": "one"}
    body = {"url": "https://example.org/hook"}
    first, again = (ada.post(PATH, json=body, headers=keyed) for _ in range(2))

    (count,) = api.conn.execute("select count(*) from public.event_subscriptions").fetchone() or (0,)
    stored = api.conn.execute("select r::text from public.requests_answered r").fetchall()
    assert (again.status_code, again.json()["type"].rpartition(":")[2], count) == (409, "shown-once", 1)
    assert again.json()["hint"].startswith(f"End it (DELETE /v1/subscriptions/{first.json()['id']})")
    assert first.json()["secret"] not in again.text + str(stored)


@pytest.mark.parametrize(
    ("wanted", "status", "said"),
    [
        ({"url": "ftp://example.org"}, 400, "url"),
        ({"url": "https://me:hush@example.org/"}, 400, "url"),
        ({"url": "https://example.org/", "format": "fax"}, 400, "format"),
        ({"url": "https://example.org/", "machines": []}, 400, "machines"),
        ({"url": "https://example.org/", "machines": ["reservatoin"]}, 400, "did you mean reservation"),
        ({"url": "https://example.org/", "machines": ["disk"], "states": ["failover"]}, 400, "states: failover"),
        ({"url": "https://example.org/", "secret": "hush"}, 400, "secret"),
        ({"url": "https://example.org/", "of_user": "bob"}, 403, "of_user"),
        ({"url": "https://example.org/", "user_id": "bob"}, 403, "user_id"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_kept(
    ada: httpx.Client, api: Api, wanted: dict[str, object], status: int, said: str
) -> None:
    answer = ada.post(PATH, json=wanted)

    assert (answer.status_code, said in answer.text, "hush" in answer.text) == (status, True, False)
    assert api.conn.execute("select count(*) from public.event_targets").fetchone() == (0,)


def test_what_the_worker_refuses_is_off_with_the_reason(ada: httpx.Client, events: Events) -> None:
    """Whoever waits for it is answered when it is."""
    made = subscribe(ada, "http://127.0.0.2/hook")
    events.worker.run()

    row = ada.get(made["href"]).json()
    assert (row["status"], row["status_reason"]) == ("off", "url: must begin with https")


def test_an_id_that_was_used_is_refused(ada: httpx.Client) -> None:
    """Its secret was told."""
    given = {"url": "https://example.org/", "subscription_id": new_id()}

    first, again = (ada.post(PATH, json=given) for _ in range(2))

    assert (first.json()["id"], again.status_code) == (given["subscription_id"], 422)
    assert again.json()["type"].endswith("used-otherwise")


def test_an_operator_asks_for_others(api: Api, events: Events, receiver: Receiver) -> None:
    """And sees theirs."""
    with api.as_user("ops", "DEVOPS") as ops, api.as_user("ada") as ada:
        made = subscribe(ops, receiver.url, user_id="ada")
        events.worker.run()
        mine = ada.get(PATH).json()["items"]
        everybodys = ops.get(PATH, params={"user_id": "ada", "status": "active"}).json()["items"]

    assert [row["subscription_id"] for row in mine] == [row["subscription_id"] for row in everybodys] == [made["id"]]


def test_after_a_day_it_says_which_dead_letter_it_became(
    api: Api, ada: httpx.Client, events: Events, receiver: Receiver
) -> None:
    """Of one that nobody took."""
    made = subscribe(ada, receiver.url)
    events.worker.run()
    events.make()
    receiver.status = 500
    events.look_at(made["id"])
    move_clock(events.conn, 24 * 3600 + 10)
    events.worker.run()

    with api.with_key(keys.make(api.conn, "ada", hours=2).key) as later:
        [delivery] = later.get(made["href"] + "/deliveries").json()["items"]
    assert (delivery["result"], type(delivery["dead_letter_id"])) == ("given up", int)
