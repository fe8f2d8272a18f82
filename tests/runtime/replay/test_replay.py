"""What real workers do to a queue, while they are killed and paused past their leases, keeps the rules of the model."""

import os
import re
import signal
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from worlds.database import fresh_database
from worlds.fleet import Connection, forked_worker, until
from worlds.replayed.recorder import record, recorded
from worlds.replayed.rules import MODEL, Change, broken, rules
from worlds.small.kind import EVENTS, SET_UP, do
from worlds.small.world import BROKEN_HISTORIES

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

QUICK: dict[str, Any] = {"lease_s": 1.5, "backoff_s": 0.05, "poll_s": 0.2, "attempts": 2}
SEND = "select pgmq.send('small_jobs', %s)"


class Crew:
    """Workers of the small kind, each with a login of its own, by which the recorder knows it."""

    def __init__(self, dsn: str, logins: dict[str, str], gate: Path) -> None:
        self.dsn, self.logins, self.gate = dsn, logins, gate
        self.stack = ExitStack()
        self.processes: dict[str, ForkServerProcess] = {}

    def start(self, login: str) -> None:
        host = urlsplit(self.dsn).netloc.rpartition("@")[2]
        dsn = urlsplit(self.dsn)._replace(netloc=f"{login}:{self.logins[login]}@{host}").geturl()
        os.environ["SMALL_GATE"] = str(self.gate)
        worker = forked_worker(dsn, "worlds.small.worker", **QUICK)
        self.processes[login] = self.stack.enter_context(worker)

    def tell(self, login: str, what: signal.Signals) -> None:
        pid = self.processes[login].pid
        assert pid
        os.killpg(pid, what)

    def raise_the_dead(self) -> bool:
        """Start those anew that have ended; whether there were any."""
        dead = [login for login, process in self.processes.items() if not process.is_alive()]
        for login in dead:
            self.start(login)
        return bool(dead)


@pytest.fixture
def crew(server_dsn: str, template: str, tmp_path: Path) -> Iterator[Crew]:
    logins = {f"{name}_{uuid.uuid4().hex[:8]}": uuid.uuid4().hex for name in ("early", "late")}
    with psycopg.connect(server_dsn, autocommit=True) as admin, fresh_database(server_dsn, template) as dsn:
        for login, password in logins.items():
            made = sql.SQL("create role {} login superuser password {}")
            admin.execute(made.format(sql.Identifier(login), sql.Literal(password)))
        crew = Crew(dsn, logins, tmp_path / "gate")
        try:
            yield crew
        finally:
            crew.stack.close()
            for login in logins:
                admin.execute(sql.SQL("drop role {}").format(sql.Identifier(login)))


def send(conn: Connection, job_id: int, script: str) -> int:
    conn.execute("insert into public.small_jobs (job_id, status) values (%s, 'ready')", (job_id,))
    row = conn.execute(SEND, (psycopg.types.json.Jsonb(do(job_id, script)),)).fetchone()
    assert row is not None
    return int(row[0])


def claims_of(conn: Connection, crew: Crew, msg_id: int) -> list[str]:
    return [change.who for change in recorded(conn, crew.logins) if (change.msg_id, change.what) == (msg_id, "claims")]


def test_workers_that_are_killed_and_paused_past_their_leases_keep_the_rules(crew: Crew) -> None:
    early, late = crew.logins
    with psycopg.connect(crew.dsn, autocommit=True) as conn:
        conn.execute(SET_UP)
        record(conn)
        foreign = send(conn, 1, "advance")
        conn.execute("select pgmq.read('small_jobs', 0, 1), pgmq.set_vt('small_jobs', %s, 0)", (foreign,))
        waits = send(conn, 2, "gate")
        for job_id, script in enumerate(["advance", "raise", "reject", "done", "again"], 3):
            send(conn, job_id, script)

        # Its first owner wakes up when another one has it; what it decided then comes too late.
        crew.start(early)
        until(lambda: claims_of(conn, crew, waits) == [early])
        until(lambda: "renews" in {change.what for change in recorded(conn, crew.logins)})
        crew.tell(early, signal.SIGSTOP)
        crew.start(late)
        until(lambda: claims_of(conn, crew, waits) == [early, late])
        crew.tell(early, signal.SIGCONT)
        crew.gate.touch()
        until(lambda: _settled(conn, crew, waits))

        # Poison ends whichever worker has it, until it is buried.
        poison = send(conn, 20, "die")
        until(lambda: _gone(conn, poison), work=crew.raise_the_dead)
        send(conn, 21, "advance")
        until(lambda: _are_all_gone(conn), work=crew.raise_the_dead)

        changes = recorded(conn, crew.logins)
        assert list(broken(changes, crew.logins)) == []
        assert {change.what for change in changes} >= {rule.what for rule in rules()} - {"finds", "takes_away"}
        assert conn.execute(BROKEN_HISTORIES).fetchall() == []
        assert _letters(conn, poison) == ["the worker ended 2 times while it had this message in hand"]
        told = conn.execute(
            # By its xmin: `xact_id` is its place in the feed, which is later where others have ended meanwhile.
            "select from public.recorded r join public.status_history h on h.xmin = r.xact_id::xid"
            " where r.msg_id = %s and r.op = 'delete' and h.row_id = '2' and h.to_status = 'running'",
            (waits,),
        ).fetchall()
        assert len(told) == 1, "the move is in the transaction that has deleted its message"
        events = conn.execute(f"select count(*) from pgmq.q_{EVENTS}").fetchone()
        assert events == (1,), "its follow-up is sent once, though two have decided it"


def _settled(conn: Connection, crew: Crew, msg_id: int) -> bool:
    return (msg_id, "settles") in {(change.msg_id, change.what) for change in recorded(conn, crew.logins)}


def _gone(conn: Connection, msg_id: int) -> bool:
    return conn.execute("select from pgmq.q_small_jobs where msg_id = %s", (msg_id,)).fetchone() is None


def _are_all_gone(conn: Connection) -> bool:
    """But for what is sent for later."""
    found = "select from pgmq.q_small_jobs where message ->> 'n' is distinct from '2'"
    return conn.execute(found).fetchone() is None


def _letters(conn: Connection, msg_id: int) -> list[str]:
    rows = conn.execute("select reason from public.dead_letters where msg_id = %s", (msg_id,)).fetchall()
    return [row[0] for row in rows]


CLAIMED = [Change(1, "sends", "anybody", False, (0, 0)), Change(1, "claims", "a", True, (0, 1))]


@pytest.mark.parametrize(
    "wrong",
    [
        Change(1, "settles", "b", False, (1, 1)),
        Change(1, "settles", "a", False, (2, 2)),
        Change(1, "claims", "b", False, (1, 2)),
        Change(1, "claims", "b", True, (1, 1)),
        Change(1, "begins", "b", False, (1, 1)),
        Change(1, "takes_away", "b", False, (1, 1)),
        Change(2, "claims", "b", True, (0, 1)),
    ],
)
def test_what_no_rule_allows_is_found(wrong: Change) -> None:
    assert list(broken(CLAIMED, "ab")) == []
    assert len(list(broken([*CLAIMED, wrong], "ab"))) == 1


def test_the_model_knows_the_words_of_the_rules_and_no_others() -> None:
    model = (MODEL / "lease.pml").read_text("utf-8")

    words = [set(line.split(", ")) for line in re.findall(r"^mtype = \{ (.*) \};$", model, re.MULTILINE)]
    places = {word for rule in rules() for word in (rule.before, rule.after)}
    deeds = {rule.what for rule in rules()}
    done = set(re.findall(r"change\(\w, m, (\w+)\)", model)) - {"label"}

    assert words[:2] == [places, deeds]
    assert done == deeds, "each is something that the model does"
