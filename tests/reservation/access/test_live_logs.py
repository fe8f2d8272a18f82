"""Reading along what a pod writes: by its owner, a chunk at a time, for as long as somebody reads."""

from typing import Any

import pytest

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.errors import Refusal
from pgfleet.schema.reads import pod as reads
from pgfleet.workers.clients.kubernetes.inside import logs
from pgfleet.workers.clients.kubernetes.status.logs import LOG_BYTES
from worlds.commands import Pgfleet
from worlds.fleet import Connection, Worker, move_clock, row_of
from worlds.reservations import active, ask, create, ended
from worlds.strangers import own_login

NS = "gpu-dev"


def pod_of(conn: Connection, row_id: str) -> str:
    return str(row_of(conn, row_id)["pod_name"])


class Reader:
    """Reads as the command does, with a worker that works whenever there is nothing to read."""

    def __init__(self, conn: Connection, worker: Worker, request: str) -> None:
        self.conn, self.worker, self.request = conn, worker, request
        self.number = 0
        self.chunks: list[str] = []

    def look(self) -> bool:
        text, number, _, _ = reads.take(self.conn, self.request, self.number)
        if text is not None:
            self.number = number
            self.chunks.append(text)
        return text is not None

    def read(self) -> str:
        """The next chunk."""
        self.worker.run_until(self.look)
        return self.chunks[-1]


def request_of(conn: Connection) -> dict[str, Any]:
    row = conn.execute("select to_jsonb(l) from public.log_requests l").fetchone()
    assert row is not None
    found: dict[str, Any] = row[0]
    return found


@pytest.fixture
def row_id(conn: Connection, worker: Worker) -> str:
    return active(conn, worker)


def test_what_it_has_written_and_what_comes_is_read_once_each(
    conn: Connection, worker: Worker, box: Box, row_id: str
) -> None:
    name = pod_of(conn, row_id)
    box.log(NS, name, "one\ntwo\n")
    with reads.reading_along(conn, row_id) as request:
        reader = Reader(conn, worker, request)

        first = reader.read()
        box.log(NS, name, "three\n", more=True)
        second = reader.read()
        box.log(NS, name, "four\n", more=True)
        third = reader.read()

    assert (first, second, third) == ("one\ntwo\n", "three\n", "four\n")


def test_much_comes_in_chunks_of_sixteen_kibibytes_without_a_gap(
    conn: Connection, worker: Worker, box: Box, row_id: str
) -> None:
    name = pod_of(conn, row_id)
    written = "".join(f"{number:05d} {'x' * 94}\n" for number in range(900))
    with reads.reading_along(conn, row_id) as request:
        reader = Reader(conn, worker, request)
        reader.read()
        box.log(NS, name, written, more=True)
        del reader.chunks[:]

        worker.run_until(lambda: reader.look() and "".join(reader.chunks).endswith(written[-101:]))

    assert "".join(reader.chunks) in (written, f"sandbox: the container runs\n{written}")
    assert max(len(chunk.encode()) for chunk in reader.chunks) <= LOG_BYTES
    assert len(reader.chunks) >= 6


def test_the_next_chunk_waits_until_the_last_was_taken(conn: Connection, worker: Worker, box: Box, row_id: str) -> None:
    box.log(NS, pod_of(conn, row_id), "".join(f"{number:05d} {'x' * 94}\n" for number in range(200)))
    with reads.reading_along(conn, row_id):
        worker.run_until(lambda: request_of(conn)["chunk_number"] == 1)
        for _ in range(3):
            move_clock(conn, 1)
            worker.run()

        assert request_of(conn)["chunk_number"] == 1


def test_a_minute_without_a_reader_ends_it(conn: Connection, worker: Worker, row_id: str) -> None:
    request = conn.execute("select public.ask_for_logs(%s)", (row_id,)).fetchone()
    worker.run_until(lambda: request_of(conn)["chunk_number"] == 1)
    move_clock(conn, 61)

    worker.run_until(lambda: request_of(conn)["ended"] is not None)

    assert request is not None
    assert reads.take(conn, str(request[0]), 0)[3] == "nobody has read for a minute"
    waiting = conn.execute("select count(*) from pgmq.q_gpu_reservations where message ->> 'action' = 'serve_logs'")
    assert waiting.fetchone() == (0,)


def test_who_reads_on_is_served_for_longer_than_a_minute(
    conn: Connection, worker: Worker, box: Box, row_id: str
) -> None:
    with reads.reading_along(conn, row_id) as request:
        reader = Reader(conn, worker, request)
        reader.read()
        for _ in range(3):
            move_clock(conn, 40)
            reader.look()
            worker.run()
        box.log(NS, pod_of(conn, row_id), "still\n", more=True)

        assert reader.read() == "still\n"


def test_it_ends_with_the_reservation(conn: Connection, worker: Worker, row_id: str) -> None:
    with reads.reading_along(conn, row_id) as request:
        Reader(conn, worker, request).read()
        ask(conn, "cancel", row_id)
        ended(conn, worker, row_id)

        worker.run_until(lambda: reads.take(conn, request, 1)[3] is not None)

        assert reads.take(conn, request, 1)[3] == "it is cancelled"


def test_a_pod_that_has_written_nothing_is_told_at_once(
    conn: Connection, worker: Worker, box: Box, row_id: str
) -> None:
    box.fault("/log$", status=500, times=1)
    with reads.reading_along(conn, row_id) as request:
        assert Reader(conn, worker, request).read() == ""


def test_a_second_in_which_more_is_written_than_is_read_at_once_stops_nobody(
    conn: Connection, worker: Worker, box: Box, row_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LOG_READ_BYTES", 4096)
    name = pod_of(conn, row_id)
    with reads.reading_along(conn, row_id) as request:
        reader = Reader(conn, worker, request)
        reader.read()
        box.log(NS, name, "".join(f"{number:05d}\n" for number in range(1000)), more=True)

        worker.run_until(lambda: reader.look() and "left out" in reader.chunks[-1])


def test_nobody_else_may_read(conn: Connection, worker: Worker, row_id: str) -> None:
    with own_login(conn, "eve") as eve:
        with pytest.raises(Refusal, match="not yours"), reads.reading_along(eve, row_id):
            pass
        with reads.reading_along(conn, row_id) as request:
            Reader(conn, worker, request).read()
            assert reads.take(eve, request, 0) == (None, 0, False, "it was forgotten")


def test_its_owner_may(conn: Connection, worker: Worker, row_id: str) -> None:
    with own_login(conn, "ada") as ada, reads.reading_along(ada, row_id) as request:
        assert Reader(ada, worker, request).read() == "sandbox: the container runs\n"


def test_more_than_ten_at_once_are_refused(conn: Connection, worker: Worker, row_id: str) -> None:
    for _ in range(10):
        conn.execute("select public.ask_for_logs(%s)", (row_id,))

    with pytest.raises(Refusal, match="reads the logs of ten pods already"), reads.reading_along(conn, row_id):
        pass


def test_the_command_shows_what_is_there_of_one_that_runs(
    conn: Connection, worker: Worker, box: Box, row_id: str, pgfleet: Pgfleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.log(NS, pod_of(conn, row_id), "epoch 1\n\x1b[2Jepoch 2\n")
    monkeypatch.setattr("pgfleet.console.commands.access.logs.time.sleep", lambda _: worker.run())

    shown = pgfleet("logs", row_id)

    assert shown.out.startswith("epoch 1\n")
    assert "\x1b" not in shown.out


def test_the_command_says_that_no_worker_answers(
    conn: Connection, worker: Worker, row_id: str, pgfleet: Pgfleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgfleet.console.commands.access.logs.SILENCE_S", 0.0)

    shown = pgfleet("logs", row_id)

    assert shown.code == 1
    assert "pgfleet worker reservation" in shown.err


def test_one_that_has_no_pod_yet_is_told_so(conn: Connection, pgfleet: Pgfleet, worker: Worker) -> None:
    active(conn, worker, gpu_count=8)
    active(conn, worker, gpu_count=8)
    waiting = create(conn, gpu_count=8)
    worker.run()

    assert "it has no pod yet" in pgfleet("logs", waiting).err
