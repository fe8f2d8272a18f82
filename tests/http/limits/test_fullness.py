"""Load is shed while whoever asks can hear of it, and the database is asked once a second at most."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import psycopg
import pytest

from pgfleet.producers.http.limits.fullness import BELIEVED_S, Fill, Fullness
from worlds.fleet import PATIENCE_S, until


@dataclass
class Database:
    """What a test says that the queues hold, and how often that was asked."""

    fills: Mapping[str, Fill] = field(default_factory=dict)
    away: bool = False
    asked: int = 0
    let_go: threading.Event = field(default_factory=threading.Event)
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.let_go.set()

    def look(self) -> Mapping[str, Fill]:
        self.asked += 1
        assert self.let_go.wait(PATIENCE_S)
        if self.away:
            raise psycopg.OperationalError("the connection is lost")
        return self.fills

    def clock(self) -> float:
        return self.now


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def fullness(database: Database) -> Fullness:
    return Fullness(database.look, most_waiting=100, oldest_s=60, clock=database.clock)


@pytest.mark.parametrize("fill", [Fill(101, 1.0), Fill(1, 60.1)], ids=["deep", "old"])
def test_a_queue_that_is_too_deep_or_too_old_takes_nothing(database: Database, fullness: Fullness, fill: Fill) -> None:
    database.fills = {"gpu_reservations": fill}

    assert fullness.refused("gpu_reservations") is not None


@pytest.mark.parametrize("fill", [Fill(100, 60.0), Fill(0)], ids=["at its limits", "empty"])
def test_a_queue_within_its_limits_takes_more(database: Database, fullness: Fullness, fill: Fill) -> None:
    database.fills = {"gpu_reservations": fill}

    assert fullness.refused("gpu_reservations") is None


def test_a_full_queue_refuses_for_no_other(database: Database, fullness: Fullness) -> None:
    database.fills = {"gpu_reservations": Fill(101)}

    assert fullness.refused("disk_operations") is None


def test_the_refusal_says_why_and_when_to_come_back(database: Database, fullness: Fullness) -> None:
    database.fills = {"gpu_reservations": Fill(5000, 900.0)}

    refused = fullness.refused("gpu_reservations")

    assert refused is not None
    response = refused.response()
    assert (response.status_code, response.headers["retry-after"]) == (503, "90")
    assert b"urn:pgfleet:problem:too-full" in bytes(response.body)
    assert b"5,000 messages wait in gpu_reservations" in bytes(response.body)


def test_the_database_is_asked_once_a_second(database: Database, fullness: Fullness) -> None:
    for _ in range(50):
        fullness.refused("gpu_reservations")
    once = database.asked
    database.now += 1.0
    fullness.refused("gpu_reservations")

    assert (once, database.asked) == (1, 2)


def test_what_was_emptied_takes_again(database: Database, fullness: Fullness) -> None:
    database.fills = {"gpu_reservations": Fill(101)}
    before = fullness.refused("gpu_reservations")
    database.fills = {"gpu_reservations": Fill(0)}
    database.now += 1.0

    assert before is not None
    assert fullness.refused("gpu_reservations") is None


def test_without_an_answer_the_last_one_is_believed_for_a_while_and_then_that_is_said(
    database: Database, fullness: Fullness
) -> None:
    fullness.refused("gpu_reservations")
    database.away = True
    database.now += BELIEVED_S

    believed = fullness.refused("gpu_reservations")
    database.now += 1.0
    refused = fullness.refused("gpu_reservations")

    assert believed is None
    assert refused is not None
    assert (refused.slug, refused.status, refused.retry_after_s) == ("database-away", 503, 5)


def test_without_any_answer_nothing_is_taken(database: Database, fullness: Fullness) -> None:
    database.away = True

    refused = fullness.refused("gpu_reservations")

    assert refused is not None
    assert refused.slug == "database-away"


def test_a_database_that_comes_back_is_asked_again(database: Database, fullness: Fullness) -> None:
    database.away = True
    fullness.refused("gpu_reservations")
    database.away = False
    database.now += 1.0

    assert fullness.refused("gpu_reservations") is None


def test_while_one_waits_for_the_database_the_others_go_on(database: Database, fullness: Fullness) -> None:
    fullness.refused("gpu_reservations")
    database.now += 1.0
    database.let_go.clear()
    one = threading.Thread(target=fullness.refused, args=("gpu_reservations",))
    one.start()
    until(lambda: database.asked == 2)

    others = [fullness.refused("gpu_reservations") for _ in range(10)]
    still_waits = one.is_alive()
    database.let_go.set()
    one.join(PATIENCE_S)

    assert (others, still_waits, database.asked) == ([None] * 10, True, 2)


def test_many_who_come_first_ask_once(database: Database, fullness: Fullness) -> None:
    database.fills = {"gpu_reservations": Fill(101)}
    database.let_go.clear()
    refused: list[object] = []
    threads = [threading.Thread(target=lambda: refused.append(fullness.refused("gpu_reservations"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: database.asked == 1)
    database.let_go.set()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert (database.asked, len(refused), None in refused) == (1, 8, False)


def test_after_a_quiet_time_the_second_who_asks_waits_for_what_the_first_will_see(
    database: Database, fullness: Fullness
) -> None:
    """Nobody looked for longer than a look is believed: that is no reason to refuse anybody."""
    fullness.refused("gpu_reservations")
    database.now += BELIEVED_S + 1
    database.let_go.clear()
    answered: list[object] = []
    asking = [threading.Thread(target=lambda: answered.append(fullness.refused("gpu_reservations"))) for _ in range(5)]

    for thread in asking:
        thread.start()
    until(lambda: database.asked == 2)
    database.let_go.set()
    for thread in asking:
        thread.join(PATIENCE_S)

    assert answered == [None] * 5
