"""Rows that nobody should have put into a queue: each is buried alone, and what else is there is worked on."""

from typing import Any

import psycopg
import pytest

from pgfleet.schema.queue.claims import claim
from pgfleet.schema.queue.large import look_at
from worlds.small.kind import QUEUE, do
from worlds.small.world import Small

pytestmark = pytest.mark.usefixtures("any_time")

DO = """'{"action": "do", "job_id": 1}'::jsonb"""
ROW = "insert into pgmq.q_small_jobs (msg_id, vt, enqueued_at, read_ct, message, headers) overriding system value"


def row(message: str = DO, **given: str) -> str:
    """A row as its owner may insert it, whatever the queue refuses to others."""
    first = {"msg_id": "1000", "vt": "now() - interval '1 min'", "enqueued_at": "now()", "read_ct": "0"}
    values = {**first, "message": message, "headers": "null", **given}
    return f"{ROW} select {', '.join(values.values())}"


def repeated(text: str, number: int) -> str:
    """A list of the same thing, which takes little room in the queue."""
    return f"""('[' || repeat('{text},', {number - 1}) || '{text}]')::jsonb"""


# Larger than anybody is to read, in what the queue keeps, unpacked, as text, or only by what is written out.
LARGE = {
    "2.4 MB of text in 100 KB": row(repeated("{}", 600_000)),
    "1.3 GB of text in 3 KB": row(repeated("1e131071", 10_000)),
    "9 MB of text in 1 KB": row(repeated("1e131071", 70)),
    "16 MB of fractions": row(repeated("1e-16383", 1_000)),
    "2 MB of noise": row("(select to_jsonb(string_agg(md5(n::text), '')) from generate_series(1, 65536) n)"),
    "300,000 keys": row("(select jsonb_object_agg(n::text, n) from generate_series(1, 300000) n)"),
    "escapes": row("to_jsonb(repeat(chr(1), 200000))"),
    "headers": row(headers="jsonb_build_object('x', repeat('x', 2000000))"),
    "headers that are no object": row(headers=repeated("{}", 600_000)),
}
# Small, and not to be read, or not to be counted with.
ODD = {
    "nested lists": row("(repeat('[', 3000) || repeat(']', 3000))::jsonb"),
    "nested as deep as a stack allows": row("(repeat('[', 900) || repeat(']', 900))::jsonb"),
    "nested in a field": row(
        f"""(left({DO}::text, -1) || ', "x": ' || repeat('[', 150) || repeat(']', 150) || '}}')::jsonb"""
    ),
    "a number of 401 digits": row("""'{"action": "do", "job_id": 1e400}'"""),
    "a number of 5,000 digits": row("""('{"action": "do", "job_id": 1' || repeat('0', 5000) || '}')::jsonb"""),
    "a number of 131,072 digits": row("""'{"action": "do", "job_id": 1e131071}'"""),
    "a fraction of 16,383 digits": row("""'{"action": "do", "job_id": 1e-16383}'"""),
    "30,000 keys": row("(select jsonb_object_agg(n::text, n) from generate_series(1, 30000) n)"),
    "a NULL": row("null"),
    "a null": row("'null'"),
    "enqueued at no time": row(enqueued_at="'infinity'"),
    "enqueued before all time": row(enqueued_at="'-infinity'"),
    "enqueued in 4713 BC": row(enqueued_at="'4713-01-01 BC'"),
    "enqueued in 294276": row(enqueued_at="'294276-01-01'"),
    "enqueued in 9999": row(enqueued_at="'9999-12-31 23:59:59.999999'"),
}
# Odd, and no reason not to run.
RUNS = {
    "claimed as often as can be counted": row(read_ct="2147483647"),
    "claimed less than never": row(read_ct="-2147483648"),
    "due before all time": row(vt="'-infinity'"),
    "the last number": row(msg_id="9223372036854775807"),
    "a negative number": row(msg_id="-9223372036854775808"),
    "headers that are a number": row(headers="'1e131071'"),
    "headers nested too deep": row(headers="(repeat('[', 3000) || repeat(']', 3000))::jsonb"),
    "counts of ages": row(headers="""'{"pgfleet": {"attempts": 999999, "begun": 999999, "released": 1, "held": 9}}'"""),
    "counts that are text": row(
        headers="""'{"pgfleet": {"attempts": "9", "begun": [9], "sent_at": 9, "claim": {}}}'"""
    ),
    "counts below zero": row(headers="""'{"pgfleet": {"attempts": -9, "begun": -9, "unanswered": true}}'"""),
    "sent in 2999": row(headers="""'{"pgfleet": {"sent_at": "2999-01-01T00:00:00+00:00"}}'"""),
    "sent before all time": row(headers="""'{"pgfleet": {"sent_at": "0001-01-01T00:00:00+14:00"}}'"""),
}


def work_beside(small: Small, *hostile: str) -> list[int]:
    """Let a worker do three good messages and some rows that are due before and among them; how much at a time."""
    for job_id in (1, 2, 3):
        small.job(job_id)
    small.send(do(2))
    for statement in hostile:
        small.conn.execute(statement.encode())
    small.send(do(3))
    claims = []
    while number := small.worker.run_once():
        claims.append(number)
        assert len(claims) < 10 + len(hostile), "messages are claimed again and again"
    return claims


@pytest.mark.parametrize("name", [*LARGE, *ODD])
def test_a_row_that_nobody_can_read_is_a_rejection_and_what_is_beside_it_runs(small: Small, name: str) -> None:
    claims = work_beside(small, {**LARGE, **ODD}[name])

    assert [small.status(job_id) for job_id in (2, 3)] == ["running", "running"]
    assert small.queue() == []
    assert small.all("select msg_id, verdict from public.dead_letters") == [(1000, "rejection")]
    assert sum(claims) == 3, "nothing is claimed twice"


@pytest.mark.parametrize("name", ["nested in a field", "nested as deep as PostgreSQL takes it", "a long number"])
def test_its_sender_finds_what_nobody_can_read_by_its_id(small: Small, name: str) -> None:
    more = {
        "nested in a field": "repeat('[', 150) || repeat(']', 150)",
        "nested as deep as PostgreSQL takes it": "repeat('[', 2000) || repeat(']', 2000)",
        "a long number": "'1' || repeat('0', 5000)",
    }[name]

    work_beside(small, row(f"""('{{"action": "do", "job_id": 7, "x": ' || {more} || '}}')::jsonb"""))

    assert small.all("select row_id from public.dead_letters") == ["7"]


@pytest.mark.parametrize("name", RUNS)
def test_a_row_that_is_only_odd_is_run_as_any_other(small: Small, name: str) -> None:
    claims = work_beside(small, RUNS[name])

    assert [small.status(job_id) for job_id in (1, 2, 3)] == ["running"] * 3
    assert (small.queue(), small.letters()) == ([], [])
    assert sum(claims) == 3


def test_many_of_them_in_one_claim_are_buried_and_hold_nothing_up(small: Small) -> None:
    every = list({**LARGE, **ODD}.values())[1:]

    work_beside(small, *(text.replace("1000", str(1000 + n), 1) for n, text in enumerate(every)))

    assert [small.status(job_id) for job_id in (2, 3)] == ["running", "running"]
    assert len(small.letters()) == len(every)


def test_a_message_that_is_due_at_no_time_does_not_keep_a_claim_from_saying_when_to_come_back(small: Small) -> None:
    small.conn.execute(row(vt="'infinity'").encode())
    assert claim(small.conn, QUEUE, 10, small.worker.running.settings.lease) == ([], None)

    small.send(1, delay_s=9)

    assert 0 < (claim(small.conn, QUEUE, 10, small.worker.running.settings.lease)[1] or 0) <= 9


@pytest.mark.parametrize("text", [r'"\ud800"', r'"\udc00\ud800"', r'"\u0000"', "NaN", "1e131072", "1e-16384"])
def test_what_is_no_json_of_the_database_is_refused_by_it(small: Small, text: str) -> None:
    with pytest.raises(psycopg.DataError):
        small.conn.execute("select %s::jsonb", (text,))


def loaded_bytes(small: Small, limit: int = 500) -> list[int]:
    """The bytes of text of each message of the next claim."""
    messages, _ = claim(small.conn, QUEUE, limit, small.worker.running.settings.lease)
    return [0 if message.kept is None else len(message.kept) for message in messages]


@pytest.mark.parametrize(
    ("body", "number", "most"),
    [
        ("to_jsonb(repeat('x', 250000))", 20, 6),
        (repeated("{}", 62_500), 20, 6),
        (repeated("1e131071", 1), 500, 10),
        (repeated("1", 80_000), 20, 6),
        ("(select to_jsonb(string_agg(md5(n::text), '')) from generate_series(1, 30000) n)", 4, 2),
    ],
    ids=["text", "small in the queue", "numbers", "many numbers", "as large as may be"],
)
def test_a_claim_loads_no_more_than_2_mib(small: Small, body: str, number: int, most: int) -> None:
    insert = f"insert into pgmq.q_small_jobs (vt, message) select now(), {body} from generate_series(1, {number})"
    small.conn.execute(insert.encode())

    taken = [loaded_bytes(small), loaded_bytes(small)]

    for claimed in taken:
        assert 1 <= len(claimed) <= most
        assert sum(claimed) <= 2 * 1024 * 1024
    assert min(taken[0]) > 0


def test_of_what_is_large_only_as_text_a_claim_writes_out_a_few(small: Small) -> None:
    body = repeated("1e131071", 500)
    insert = f"insert into pgmq.q_small_jobs (vt, message) select now(), {body} from generate_series(1, 50)"
    small.conn.execute(insert.encode())

    taken = loaded_bytes(small)

    assert 1 <= len(taken) <= 5
    assert set(taken) == {0}


def test_what_is_not_too_large_by_itself_is_claimed_however_large_what_is_before_it(small: Small) -> None:
    small.conn.execute(row("to_jsonb(repeat('x', 1000000))").encode())

    assert loaded_bytes(small) == [1_000_002]


def test_a_batch_of_common_messages_is_claimed_whole(small: Small) -> None:
    small.conn.execute(
        "insert into pgmq.q_small_jobs (vt, message) select now(), to_jsonb(repeat('x', 2000))"
        " from generate_series(1, 500)"
    )

    assert len(loaded_bytes(small)) == 500


def test_of_what_is_too_large_its_sender_finds_what_it_was_about(small: Small) -> None:
    asked: dict[str, Any] = {"action": "do", "job_id": 7, "user_id": "ada", "n": "x" * 2_000_000}
    small.conn.execute(row("%s::jsonb"), (psycopg.types.json.Jsonb(asked),))
    ids = ("job_id", "action", "user_id", "n")

    note = look_at(small.conn, QUEUE, [1000], ids)[1000]
    small.worker.run()

    assert note.fields is not None
    assert small.all("select message ->> 'user_id', message ? 'n' from public.dead_letters") == [("ada", False)]
    (reason,) = small.letters()
    assert "too large: 2" in reason
