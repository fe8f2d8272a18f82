"""Dead letters that are larger than anybody should read, as older versions have kept them: seen, and not loaded."""

from typing import Any

import pytest

from pgfleet.schema.doctor.examination import examine
from pgfleet.schema.errors import Refusal
from pgfleet.schema.reads import about
from pgfleet.schema.replay import letters
from worlds.fleet import Connection

BURY = """
insert into public.dead_letters (queue, msg_id, row_id, message, headers, reason, enqueued_at)
select 'gpu_reservations', 1, 'r1', {message}, {headers}, 'too much', now() returning dead_letter_id
"""
RESERVATION = about.Subject("gpu_reservations", "reservation_id")
LARGE = {
    "text": "to_jsonb(repeat('x', 2000000))",
    "small in the table": "('[' || repeat('{},', 600000) || '1]')::jsonb",
    "numbers": "('[' || repeat('1e131071,', 10000) || '1]')::jsonb",
}


def bury(conn: Connection, message: str, headers: str = "null") -> int:
    row = conn.execute(BURY.format(message=message, headers=headers).encode()).fetchone()
    assert row is not None
    return int(row[0])


def size_of(shown: Any) -> int:
    """What is shown in the place of something large: how large it is."""
    ((name, size),) = shown.items()
    assert name == "too_large_to_show"
    return int(size)


@pytest.mark.parametrize("message", LARGE.values(), ids=LARGE)
def test_a_large_letter_is_listed_and_shown_with_its_size(conn: Connection, message: str) -> None:
    number = bury(conn, message, "jsonb_build_object('x', repeat('x', 2000000))")

    (listed,) = letters.listing(conn, letters.Filters())
    shown = letters.one(conn, number)
    (told,) = about.letters(conn, RESERVATION, "r1")

    for letter in (listed, shown, told):
        assert size_of(letter["message"]) > 1_048_576
        assert letter["reason"] == "too much"
    assert size_of(listed["headers"]) > 1_048_576


def test_of_many_letters_less_is_shown_than_of_one(conn: Connection) -> None:
    number = bury(conn, "to_jsonb(repeat('x', 100000))")

    assert size_of(letters.listing(conn, letters.Filters())[0]["message"]) == 100_002
    assert letters.one(conn, number)["message"] == "x" * 100_000


@pytest.mark.parametrize(
    ("message", "headers"),
    [(LARGE["text"], "null"), ("""'{"action": "cancel"}'""", """'{"pgfleet": {"cut": 2000000}}'""")],
    ids=["it is whole", "it is a note"],
)
def test_a_large_letter_is_not_sent_again_and_can_be_discarded(conn: Connection, message: str, headers: str) -> None:
    number = bury(conn, message, headers)

    with pytest.raises(Refusal, match="too large for any worker"):
        letters.replay(conn, number, "ada")
    letters.discard(conn, number, "ada")

    assert conn.execute("select answer from public.dead_letters").fetchall() == [("discarded",)]
    assert conn.execute("select from pgmq.q_gpu_reservations where message ->> 'action' = 'cancel'").fetchall() == []


def test_large_letters_and_messages_stop_no_examination(conn: Connection) -> None:
    before = [finding.check for finding in examine(conn)]
    bury(conn, LARGE["numbers"])
    conn.execute(f"insert into pgmq.q_gpu_reservations (vt, message) select now(), {LARGE['numbers']}".encode())

    assert [finding.check for finding in examine(conn)] == before
