"""Breakers: two workers, outages and probes in any order; whoever waits is woken by the end of what it waits for."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from pgfleet.schema.queue import claims
from pgfleet.workers.runtime.kind import Turn
from pgfleet.workers.runtime.leases import Leases
from pgfleet.workers.runtime.outcomes import Calls, NotNowError, Outcome
from pgfleet.workers.runtime.outside.breakers import Breakers
from pgfleet.workers.runtime.task import Task
from pgfleet.workers.runtime.work import work
from worlds.fleet import Connection, move_clock, stop_clock
from worlds.small.chosen import chosen
from worlds.small.kind import QUEUE, Do, Tools, View, do, small_kind
from worlds.small.world import CLEAN, Small

LONGEST_S = 30
WHO = st.sampled_from([0, 1])
DEPENDENCIES = st.sampled_from(["kubernetes", "aws"])
CALLS = st.sampled_from(list(Calls))
AFTER = st.sampled_from([None, 5.0, 20.0])
Place = tuple[str, Calls]


@dataclass
class Outage:
    """When it is to be probed, and how often it was in vain; times are seconds since the example began."""

    retry_at: float
    probes: int = 0


@dataclass
class Model:
    now_s: float = 0.0
    open: dict[Place, Outage] = field(default_factory=dict)
    # What each message waits for, that nobody has in hand.
    waiting: dict[int, str] = field(default_factory=dict)
    deletes_paused: bool = False

    def begin(self, place: Place, after_s: float | None) -> None:
        self.open.setdefault(place, Outage(self.now_s + (1 if after_s is None else after_s)))

    def probed(self) -> set[Place]:
        """Who is due, each once: it is left alone ever longer."""
        due = {place for place, outage in self.open.items() if outage.retry_at <= self.now_s}
        for place in due:
            outage = self.open[place]
            outage.probes += 1
            outage.retry_at = self.now_s + min(LONGEST_S, 2**outage.probes)
        return due

    def may_call(self, dependency: str, calls: Calls) -> bool:
        """What can't be read can't be made or deleted either."""
        out = (dependency, Calls.READ) in self.open or (dependency, calls) in self.open
        return not out and not (calls is Calls.DELETE and self.deletes_paused)


class BreakerLife(RuleBasedStateMachine):
    def __init__(self, small: Small) -> None:
        super().__init__()
        self.small = small
        self.model = Model()
        small.conn.execute(CLEAN)
        small.conn.execute("truncate public.outages, public.pauses")
        stop_clock(small.conn)
        self.workers = [self._breakers(), self._breakers()]
        for job_id in (1, 2, 3):
            small.job(job_id)

    def _breakers(self) -> Breakers:
        def use(ask: Callable[[Connection], Any]) -> Any:
            return ask(self.small.conn)

        return Breakers(QUEUE, use, LONGEST_S)

    @rule(seconds=st.sampled_from([1, 3, 31, 100]))
    def let_time_pass(self, seconds: int) -> None:
        move_clock(self.small.conn, seconds)
        self.model.now_s += seconds

    @rule(who=WHO, dependency=DEPENDENCIES, calls=CALLS, after_s=AFTER)
    def find_it_out(self, who: int, dependency: str, calls: Calls, after_s: float | None) -> None:
        error = NotNowError(dependency, calls, "CODE", "no answer", after_s=after_s)
        self.workers[who].open(error)
        self.model.begin((dependency, calls), after_s)

    @rule(who=WHO)
    def look(self, who: int) -> None:
        """Each that is due is the probe of one worker alone."""
        worker = self.workers[who]
        ended = {place[0] for place in worker._open} - {place[0] for place in self.model.open}  # noqa: SLF001
        expected = self.model.probed()

        probes = worker.look()

        assert len(probes) == len(set(probes))
        assert set(probes) == expected
        self._are_due(msg_id for msg_id, waits_for in self.model.waiting.items() if waits_for in ended)

    @precondition(lambda self: self.model.open)
    @rule(who=WHO, pick=st.integers(0, 5), after_s=AFTER)
    def probe_in_vain(self, who: int, pick: int, after_s: float | None) -> None:
        place = self._picked(pick)
        self.workers[who].unanswered(NotNowError(*place, "CODE", "still no answer", after_s=after_s), *place)
        if after_s is not None:
            self.model.open[place].retry_at = self.model.now_s + after_s

    @precondition(lambda self: self.model.open)
    @rule(who=WHO, pick=st.integers(0, 5))
    def probe(self, who: int, pick: int) -> None:
        """It is answered: what has waited for it goes on, but for what somebody has in hand."""
        dependency, calls = self._picked(pick)
        self.workers[who].answered(dependency, calls)
        del self.model.open[dependency, calls]
        self._are_due(msg_id for msg_id, waits_for in self.model.waiting.items() if waits_for == dependency)

    def _picked(self, pick: int) -> Place:
        return sorted(self.model.open)[pick % len(self.model.open)]

    def _are_due(self, msg_ids: Any) -> None:
        for msg_id in msg_ids:
            assert self.small.due_s(msg_id) <= 0, "it was woken"

    @rule(job_id=st.sampled_from([1, 2, 3]), dependency=DEPENDENCIES)
    def wait_for_it(self, job_id: int, dependency: str) -> None:
        """A message whose step would call it, and may not."""
        self.small.send(do(job_id))

        def step(_message: Do, _turn: Turn[View, Tools]) -> Outcome:
            raise NotNowError(dependency, Calls.READ, "CODE", "no answer")

        leases = Leases(90)
        running = replace(
            self.small.worker.running, kind=small_kind(step=step), leases=leases, breakers=self.workers[0]
        )
        messages, _ = claims.claim(self.small.conn, QUEUE, 100, timedelta(seconds=90))
        tasks = [Task.of(message) for message in messages]
        leases.take([task.token for task in tasks], float("inf"))
        work(running, tasks)
        # Of two that say the same about one row, one is done with.
        left = set(self.small.queue())
        for task in tasks:
            self.model.waiting.pop(task.token.msg_id, None)
            if task.token.msg_id in left:
                self.model.waiting[task.token.msg_id] = dependency

    @precondition(lambda self: self.model.waiting)
    @rule()
    def take_in_hand(self) -> None:
        """Whoever has a message in hand keeps it: its lease is not cut short by a wake-up."""
        messages, _ = claims.claim(self.small.conn, QUEUE, 1, timedelta(seconds=90))
        for message in messages:
            self.model.waiting.pop(message.token.msg_id, None)
            self._wake_all()
            assert self.small.due_s(message.token.msg_id) == 90

    def _wake_all(self) -> None:
        for dependency in ("kubernetes", "aws"):
            self.small.all("select public.wake_held(%s, %s, 100)", (QUEUE, dependency))

    @rule(paused=st.booleans())
    def pause_deletions(self, paused: bool) -> None:  # noqa: FBT001
        if paused:
            self.small.all("select public.begin_pause('deletes', 'ada', 'let me look')")
        else:
            self.small.all("select public.end_pause('deletes')")
        self.model.deletes_paused = paused

    @invariant()
    def what_is_open_is_what_everybody_sees(self) -> None:
        rows = self.small.all("select dependency, calls from public.outages where ended_at is null")
        assert sorted(rows) == sorted((dependency, str(calls)) for dependency, calls in self.model.open)
        for worker in self.workers:
            seen = replace_open(worker, self.small.conn)
            for dependency in ("kubernetes", "aws"):
                for calls in Calls:
                    assert (seen.trouble(dependency, calls) is None) == self.model.may_call(dependency, calls)


def replace_open(worker: Breakers, conn: Connection) -> Breakers:
    """As one that looks now would see it, without this one's looking."""
    other = Breakers(worker.queue, lambda ask: ask(conn), LONGEST_S)
    other.refresh(conn)
    return other


def test_whatever_order_outages_begin_and_end_in_all_see_the_same_and_nobody_waits_for_ever(small: Small) -> None:
    class Life(BreakerLife):
        def __init__(self) -> None:
            super().__init__(small)

    run_state_machine_as_test(Life, settings=chosen(15))
