"""The feed: whatever order transactions begin, write and end in, each reader is told each move once, in order."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import psycopg
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from pgfleet.schema.feed import reading
from pgfleet.schema.feed.cursor import Cursor
from pgfleet.schema.feed.filters import Filters
from worlds.database import Connection
from worlds.feed.moves import make, move
from worlds.fleet import until
from worlds.small.chosen import chosen

ADA, BOB = "ada", "bob"
NEXT = {"pending": "queued", "queued": "preparing", "preparing": "queued"}
WRITERS = 3
Told = tuple[str, str, str]


@dataclass
class Model:
    """The moves that are committed, of each row in their order, and what open transactions have done."""

    owners: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    committed: list[Told] = field(default_factory=list)
    open: dict[int, list[Told]] = field(default_factory=dict)

    def locked(self) -> set[str]:
        return {row_id for moves in self.open.values() for row_id, _, _ in moves}

    def movable(self, writer: int) -> list[str]:
        """Rows that nobody else has in hand; moves of one's own are seen by oneself alone."""
        own = {row_id for row_id, _, _ in self.open.get(writer, [])}
        return sorted((self.states.keys() - self.locked()) | own)

    def state(self, writer: int, row_id: str) -> str:
        own = [to for moved, _, to in self.open.get(writer, []) if moved == row_id]
        return own[-1] if own else self.states[row_id]

    def commit(self, moves: list[Told]) -> None:
        self.committed += moves
        self.states |= {row_id: to for row_id, _, to in moves}


class Reader:
    """Reads the feed on from where it was; `events` is what it was told."""

    def __init__(self, conn: Connection, user: str | None) -> None:
        self.conn, self.user = conn, user
        self.cursor = reading.end(conn)
        self.events: list[tuple[Cursor, Told]] = []

    def read(self, most: int) -> bool:
        """Whether there may be more."""
        page = reading.read(self.conn, self.cursor, Filters(user=self.user), limit=most)
        self.events += [(event.position, (event.row_id, event.from_status, event.to_status)) for event in page.events]
        before, self.cursor = self.cursor, page.cursor
        return before != page.cursor


class Listener(Reader):
    """A login of a user at the database, which is told of its own rows, whatever it asks for."""

    def __init__(self, conn: Connection, user: str) -> None:
        self.conn, self.user = conn, user
        self.events = []
        (self.position,) = conn.execute("select public.heard_from()").fetchone() or ("",)

    def read(self, most: int) -> bool:
        rows = self.conn.execute("select * from public.moves_after(%s, %s)", (self.position, most)).fetchall()
        for position, machine, row_id, before, to, *_ in rows:
            self.position = position
            if machine is not None:
                self.events.append((Cursor.parse(position), (row_id, before, to)))
        return bool(rows)


class FeedLife(RuleBasedStateMachine):
    def __init__(self, dsn: str, login: str, stack: ExitStack) -> None:
        super().__init__()
        self.model = Model()
        self.number = 0
        self.stack = stack
        self.writers = [self._connect(dsn) for _ in range(WRITERS)]
        conn = self._connect(dsn)
        users = self._connect(dsn)
        users.execute(f'set session authorization "{login}"'.encode())
        self.login = login
        self.readers = [Reader(conn, None), Reader(conn, login), Reader(conn, BOB), Listener(users, login)]

    def _connect(self, dsn: str) -> Connection:
        return self.stack.enter_context(psycopg.connect(dsn, autocommit=True))

    def _moves(self, writer: int) -> list[Told]:
        """Those of its open transaction; without one it commits by itself."""
        return self.model.open.get(writer, [])

    def _note(self, writer: int, told: Told) -> None:
        if writer in self.model.open:
            self.model.open[writer].append(told)
        else:
            self.model.commit([told])

    @rule(writer=st.integers(0, WRITERS - 1), writes_first=st.booleans())
    def begin(self, writer: int, writes_first: bool) -> None:  # noqa: FBT001
        """With a number of its own at once, or with its first move."""
        if writer not in self.model.open:
            self.writers[writer].execute("begin")
            self.model.open[writer] = []
            if writes_first:
                self.writers[writer].execute("select pg_current_xact_id()")

    @rule(writer=st.integers(0, WRITERS - 1), is_hers=st.booleans())
    def make(self, writer: int, is_hers: bool) -> None:  # noqa: FBT001
        self.number += 1
        row_id = f"{self.login}-{secrets.token_hex(4)}-{self.number}"
        self.model.owners[row_id] = self.login if is_hers else BOB
        make(self.writers[writer], row_id, self.model.owners[row_id])
        self._note(writer, (row_id, "(new)", "pending"))

    @rule(writer=st.integers(0, WRITERS - 1), pick=st.integers(0, 20))
    def move(self, writer: int, pick: int) -> None:
        movable = self.model.movable(writer)
        if movable:
            row_id = movable[pick % len(movable)]
            before = self.model.state(writer, row_id)
            move(self.writers[writer], row_id, NEXT[before])
            self._note(writer, (row_id, before, NEXT[before]))

    @precondition(lambda self: self.model.open)
    @rule(pick=st.integers(0, WRITERS - 1), commits=st.booleans())
    def end(self, pick: int, commits: bool) -> None:  # noqa: FBT001
        writer = sorted(self.model.open)[pick % len(self.model.open)]
        moves = self.model.open.pop(writer)
        self.writers[writer].execute("commit" if commits else "rollback")
        if commits:
            self.model.commit(moves)

    @rule(pick=st.integers(0, 3), most=st.sampled_from([1, 2, 50]))
    def read(self, pick: int, most: int) -> None:
        self.readers[pick].read(most)

    @invariant()
    def what_is_told_is_committed_and_told_once(self) -> None:
        for reader in self.readers:
            places = [place for place, _ in reader.events]
            assert places == sorted(set(places))
            assert {told for _, told in reader.events} <= set(self.model.committed)

    @invariant()
    def nobody_is_told_of_anothers_rows(self) -> None:
        for reader in self.readers:
            if reader.user is not None:
                assert {self.model.owners[row_id] for _, (row_id, _, _) in reader.events} <= {reader.user}

    def teardown(self) -> None:
        """Once all have ended, everybody is told of all that is left, and all in one order."""
        for writer, moves in list(self.model.open.items()):
            self.writers[writer].execute("commit")
            self.model.commit(moves)
            del self.model.open[writer]
        for reader in self.readers:
            seen = [each for each in self.model.committed if reader.user in (None, self.model.owners[each[0]])]
            # A transaction of the server's own may hold the feed back for a moment.
            until(partial(_has_all, reader, len(seen)), work=partial(reader.read, 2))
            self.what_is_told_is_committed_and_told_once()
            assert _by_row(told for _, told in reader.events) == _by_row(seen)
        everything = self.readers[0].events
        for reader in self.readers[1:]:
            assert reader.events == [e for e in everything if self.model.owners[e[1][0]] == reader.user]
        self.stack.close()


def _has_all(reader: Reader, number: int) -> bool:
    return len(reader.events) >= number


def _by_row(moves: Iterator[Told] | list[Told]) -> dict[str, list[Told]]:
    rows: dict[str, list[Told]] = {}
    for told in moves:
        rows.setdefault(told[0], []).append(told)
    return rows


@pytest.fixture
def login(conn: Connection) -> Iterator[str]:
    """A user who may listen, and whose name is the login's."""
    name = f"{ADA}_{secrets.token_hex(4)}"
    conn.execute(f"create role {name} login in role pgfleet_user".encode())
    try:
        yield name
    finally:
        conn.execute(f"drop role {name}".encode())


@pytest.mark.parametrize("rls", [False, True], ids=["as shipped", "with row level security"])
def test_every_reader_is_told_each_move_once_in_an_order_that_never_changes(
    dsn: str,
    conn: Connection,
    login: str,
    rls: bool,  # noqa: FBT001
) -> None:
    conn.execute("select public.switch_row_level_security(%s)", (rls,))

    class Life(FeedLife):
        def __init__(self) -> None:
            super().__init__(dsn, login, ExitStack())

    run_state_machine_as_test(Life, settings=chosen(8))
