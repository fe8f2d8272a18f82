"""Seats: never one too many, given back at once to whoever waits longest, and counted right."""

import os
import random
import threading
from collections import Counter
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from pgfleet.schema.assignment import Held, SweepSeats
from pgfleet.workers.assignment.health import sweep_seats
from pgfleet.workers.assignment.view import load
from pgfleet.workers.runtime.outcomes import Done
from pgfleet.workers.runtime.work import work
from worlds.assignments import (
    BROKEN_HISTORIES,
    ENABLED,
    NOBODY_LOOKS_AFTER,
    QUEUE,
    WRONG_ROWS,
    Place,
    World,
    email_of,
)
from worlds.fleet import move_clock, send

ADA, BOB, CLEO, DAN = "auth0|ada", "auth0|bob", "auth0|cleo", "auth0|dan"


def crowd(number: int, letter: str = "u") -> list[str]:
    return [f"auth0|{letter}{one:04}" for one in range(number)]


def waiting(world: World, *users: str, **fields: str) -> None:
    """Users who ask one after the other, and find no seat."""
    for user in users:
        world.users(user)
        world.ask("assign", user, **fields)
    world.run()
    assert {world.status(user) for user in users} == {"pending"}


def statuses(world: World, users: list[str]) -> dict[str, int]:
    found = world.conn.execute(
        "select status, count(*)::int from hopsworks.user_hopsworks_assignments where user_id = any(%s) group by 1",
        (users,),
    )
    return dict(found.fetchall())


def test_the_last_seat_makes_a_cluster_full_and_the_first_back_clears_it(world: World) -> None:
    here = world.place(2)
    world.active(ADA)
    one_left = here.status

    world.active(BOB)
    none_left = here.status
    world.tell("release", ADA)

    assert (one_left, none_left, here.status) == ("active", "full", "active")


@pytest.mark.parametrize("status", ["maintenance", "inactive"])
def test_seats_that_come_and_go_never_override_the_operators_word(world: World, status: str) -> None:
    here = world.place(1)
    world.active(ADA)
    here.change(status=status)

    world.tell("release", ADA)

    assert (here.status, here.seats_taken) == (status, 0)


def test_a_hundred_and_one_users_on_a_hundred_seats(world: World) -> None:
    here = world.place(100)
    users = crowd(101)
    world.users(*users)
    for user in users:
        world.ask("assign", user)

    world.run()
    world.later(1)

    assert statuses(world, users) == {"active": 100, "pending": 1}
    (detail,) = world.conn.execute(
        "select detail from hopsworks.user_hopsworks_assignments where status = 'pending'"
    ).fetchone() or ("",)
    assert detail == "CLUSTER_FULL: no free seat on any of 1 clusters"
    assert (here.seats_taken, here.status, len(here.accounts)) == (100, "full", 100)


def test_a_seat_that_is_released_goes_to_who_waits_at_once(world: World) -> None:
    world.place(1)
    world.active(ADA)
    waiting(world, BOB)

    world.tell("release", ADA)

    assert world.status(BOB) == "active"


def test_seats_that_an_operator_adds_go_to_those_who_wait_at_once(world: World) -> None:
    here = world.place(1)
    world.active(ADA)
    waiting(world, BOB, CLEO, DAN)

    here.change(max_users=3)
    world.run()

    assert [world.status(user) for user in (BOB, CLEO, DAN)] == ["active", "active", "pending"]


def test_a_new_cluster_takes_those_who_wait_at_once(world: World) -> None:
    waiting(world, ADA)

    world.place()
    world.run()

    assert world.status(ADA) == "active"


def test_the_end_of_a_maintenance_is_news_at_once(world: World) -> None:
    here = world.place(status="maintenance")
    waiting(world, ADA)

    here.change(status="active")
    world.run()

    assert world.status(ADA) == "active"


def test_a_seat_that_another_service_gives_back_is_news_at_once(world: World) -> None:
    here = world.place(1)
    world.conn.execute("select hopsworks.increment_cluster_users(%s)", (here.id,))
    waiting(world, ADA)

    world.conn.execute("select hopsworks.decrement_cluster_users(%s)", (here.id,))
    world.run()

    assert world.status(ADA) == "active"


def test_a_user_that_is_given_up_makes_room_at_once(world: World) -> None:
    here = world.place(1)
    here.fault(method="POST", status=400)
    world.users(ADA, BOB)
    world.ask("assign", ADA)
    world.ask("assign", BOB)

    world.run()

    assert [world.status(user) for user in (ADA, BOB)] == ["failed", "active"]


def test_nobody_is_told_of_room_when_nobody_waits(world: World) -> None:
    world.place(1)
    world.active(ADA)

    world.ask("release", ADA)
    world.worker.run_once()

    assert world.queued("admit") == 0


def test_the_oldest_goes_first(world: World) -> None:
    here = world.place(0)
    waiting(world, DAN, ADA, CLEO, BOB)
    order = []

    for seats in range(1, 5):
        here.change(max_users=seats)
        world.run()
        order += [user for user in (ADA, BOB, CLEO, DAN) if world.status(user) == "active" and user not in order]

    assert order == [DAN, ADA, CLEO, BOB]


def test_who_asks_again_keeps_the_place_in_the_line(world: World) -> None:
    here = world.place(0)
    waiting(world, ADA, BOB)

    world.tell("assign", ADA)
    here.change(max_users=1)
    world.run()

    assert [world.status(user) for user in (ADA, BOB)] == ["active", "pending"]


def test_250_who_wait_are_seated_page_by_page(world: World) -> None:
    here = world.place(0)
    users = crowd(250)
    waiting(world, *users)

    here.change(max_users=249)
    world.run()

    assert statuses(world, users) == {"active": 249, "pending": 1}
    assert world.status(users[-1]) == "pending"
    assert (here.seats_taken, here.server["created"], here.server["double_creations"]) == (249, 249, 0)


def test_those_who_wait_for_a_full_cluster_are_in_nobodys_way(world: World) -> None:
    full, free = world.place(0), world.place(0)
    waiting(world, *crowd(120), cluster_id=full.id)
    waiting(world, BOB)

    free.change(max_users=1)
    world.run()

    assert (world.status(BOB), world.place_of(BOB)) == ("active", free.id)


def test_those_who_wait_for_a_cluster_in_maintenance_are_in_nobodys_way(world: World) -> None:
    shut = world.place()
    shut.change(status="maintenance")
    waiting(world, *crowd(120), cluster_id=shut.id)
    world.place()

    world.active(BOB)

    assert world.status(BOB) == "active"


def test_a_cluster_of_no_known_size_takes_nobody_and_holds_nobody_up(world: World) -> None:
    unknown = world.place(None)
    waiting(world, ADA)
    world.later(1)
    detail = world.row(ADA)["detail"]
    known = world.place(1)
    world.run()

    world.sweep("sweep_seats")

    assert detail == "CLUSTER_FULL: no free seat on any of 1 clusters"
    assert (world.place_of(ADA), unknown.seats_taken) == (known.id, 0)


def test_a_cluster_with_no_count_of_its_seats_is_counted_by_the_sweep(world: World) -> None:
    here = world.place(2)
    here.change(current_users=None)
    world.users(ADA)
    world.tell("assign", ADA)

    world.sweep("sweep_seats")
    world.later(61)

    assert (world.status(ADA), here.seats_taken) == ("active", 1)


def test_a_seat_that_is_taken_while_the_sweep_looks_is_no_mismatch(world: World) -> None:
    world.place(2)
    world.active(ADA)
    settings = world.worker.running.settings
    before = load(world.conn, [SweepSeats()], settings)
    world.active(BOB)
    after = load(world.conn, [SweepSeats()], settings)

    outcome = sweep_seats(replace(before, counted=after.counted))

    assert outcome == Done("all seats are counted right")


def test_fewer_seats_than_users_throws_nobody_out_and_takes_nobody_in(world: World) -> None:
    here = world.place(3)
    world.active(ADA, BOB, CLEO)
    here.change(max_users=1)
    waiting(world, DAN)
    world.sweep("sweep_seats")
    over = (here.seats_taken, here.status)

    world.tell("release", ADA)
    world.tell("release", BOB)
    still_full = world.status(DAN)
    world.tell("release", CLEO)

    assert over == (3, "full")
    assert still_full == "pending"
    assert (world.status(DAN), here.seats_taken) == ("active", 1)
    assert here.failures == []


# The sweep.


def miscount(place: Place, counted: int) -> None:
    place.conn.execute("set session_replication_role = replica")
    place.change(current_users=counted)
    place.conn.execute("set session_replication_role = origin")


@pytest.mark.parametrize("counted", [0, 1, 3, 5])
def test_a_wrong_count_is_repaired_and_on_record(world: World, counted: int) -> None:
    here = world.place(5)
    world.active(ADA, BOB)
    miscount(here, counted)

    world.sweep("sweep_seats")

    assert (here.seats_taken, here.status) == (2, "active")
    assert here.failures == [("seats", None, f"MISMATCH: {counted} seats were counted as taken, 2 are", True)]


def test_a_count_that_hid_free_seats_is_repaired_for_those_who_wait(world: World) -> None:
    here = world.place(1)
    here.change(current_users=1)
    waiting(world, ADA)

    world.sweep("sweep_seats")

    assert world.status(ADA) == "active"


def test_a_right_count_leaves_no_trace(world: World) -> None:
    here = world.place(5)
    world.active(ADA, BOB)
    before = here.row

    world.sweep("sweep_seats")

    assert (here.row, here.failures) == (before, [])


def test_more_users_than_seats_is_counted_up_to_the_last_seat_and_stays_on_record(world: World) -> None:
    here = world.place(3)
    world.active(ADA, BOB, CLEO)
    here.change(max_users=2)
    miscount(here, 0)

    world.sweep("sweep_seats")
    world.sweep("sweep_seats")
    capped = (here.seats_taken, here.status, len(here.failures), here.failures[0][3])
    here.change(max_users=3)
    world.sweep("sweep_seats")

    assert capped == (2, "full", 1, False)
    assert (here.seats_taken, here.failures[0][3]) == (3, True)


def test_the_sweep_is_right_while_seats_are_taken_and_given_back(world: World) -> None:
    here, users = world.place(100), crowd(60)
    world.users(*users)
    for user in users:
        world.ask("assign", user)
        if user[-1] in "02468":
            world.ask("release", user)
    over = threading.Event()

    def sweep() -> None:
        swept = world.with_settings()
        while not over.is_set():
            with psycopg.connect(world.dsn, autocommit=True) as conn:
                conn.execute("select pgmq.send('cluster_assignments', '{\"action\": \"sweep_seats\"}')")
            swept.worker.run_once(5)

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        world.run()
    finally:
        over.set()
        sweeper.join()
    # A release that the sweeper took before its assign waits for it.
    world.later(31)

    assert here.failures == []
    assert here.seats_taken == 30


def test_workers_beside_each_other_never_take_one_seat_twice(world: World) -> None:
    places = [world.place(7) for _ in range(3)]
    users = crowd(40)
    world.users(*users)
    for user in users:
        world.ask("assign", user)

    threads = [threading.Thread(target=world.with_settings().worker.run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.run()

    assert statuses(world, users) == {"active": 21, "pending": 19}
    assert [place.seats_taken for place in places] == [7, 7, 7]
    assert sum(place.server["double_creations"] for place in places) == 0


def test_a_seat_that_is_taken_in_between_is_looked_for_again(world: World) -> None:
    """Another service counts a user between the look at the line and the taking of the seat."""
    here, there = world.place(1), world.place(1)
    world.users(ADA)
    world.ask("assign", ADA)
    world.worker.run_once()
    other = {here.id: there, there.id: here}
    with psycopg.connect(world.dsn) as holding:
        first = min(here.id, there.id)
        holding.execute("select hopsworks.increment_cluster_users(%s)", (first,))
        working = threading.Thread(target=world.worker.run)
        working.start()
        world_waits = "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and datname = %s)"
        while not world.one(world_waits, holding.info.dbname):
            assert working.is_alive()
        holding.commit()
        working.join()

    assert (world.status(ADA), world.place_of(ADA)) == ("active", other[first].id)
    world.conn.execute("select hopsworks.decrement_cluster_users(%s)", (first,))


# Nobody is forgotten.


def test_a_live_row_whose_ticket_is_lost_gets_another(world: World) -> None:
    here = world.place(0)
    waiting(world, ADA)
    world.forget_messages("advance")
    here.change(max_users=1)
    world.forget_messages("admit")

    move_clock(world.conn, 11)
    world.sweep()

    assert world.status(ADA) == "active"


def test_510_rows_whose_tickets_are_lost_all_get_another(world: World) -> None:
    here = world.place(0)
    users = crowd(510)
    waiting(world, *users)
    world.forget_messages("advance")

    move_clock(world.conn, 11)
    world.sweep()
    world.sweep()

    assert world.queued("advance") == 510
    assert here.seats_taken == 0


def test_a_sweep_gives_nobody_a_second_ticket(world: World) -> None:
    world.place(0)
    waiting(world, ADA)

    move_clock(world.conn, 11)
    world.sweep()
    world.sweep()

    assert world.queued("advance") == 1


# Whatever happens.

TEAM_OWNER, TEAM = "auth0|owner", ("auth0|mia", "auth0|max")
PEOPLE = (ADA, BOB, CLEO, TEAM_OWNER, *TEAM)
CODES = {str(code) for code in Held}
FAULTS: list[dict[str, Any]] = [
    {"status": 500},
    {"status": 503, "times": 4},
    {"method": "POST", "status": 500, "after": True},
    {"method": "POST", "drop": True, "after": True},
    {"method": "POST", "drop": True},
    {"method": "PUT", "status": 502, "after": True},
    {"method": "PUT", "drop": True},
    {"method": "PUT", "status": 503, "times": 4},
    {"method": "POST", "status": 500, "times": 4},
    {"status": 401, "times": 2},
    {"status": 429, "retry_after": 5, "times": 2},
    {"drop": True, "times": 3},
]
COUNTED_WRONG = """
select c.name, c.current_users, count(a.id), count(a.id) filter (where a.holds_seat), c.status
from hopsworks.hopsworks_clusters c
left join hopsworks.user_hopsworks_assignments a on a.hopsworks_cluster_id = c.id
group by c.id
having c.current_users <> count(a.id) or c.current_users <> count(a.id) filter (where a.holds_seat)
  or c.status = 'active' and c.current_users >= c.max_users or c.status = 'full' and c.current_users < c.max_users
"""
OVERSHOT = """
create table if not exists public.overshot (told text);
create or replace function public.note_overshot() returns trigger language plpgsql security definer as $$
begin
  if new.current_users > new.max_users and new.current_users > old.current_users then
    insert into public.overshot values (format('%s: %s of %s', new.name, new.current_users, new.max_users));
  end if;
  return null;
end
$$;
create or replace trigger note_overshot after update on hopsworks.hopsworks_clusters
  for each row execute function public.note_overshot();
"""


class Life:
    """Requests, operators, faults and time in any order, and two workers that have a turn now and then."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.other, self.dice = world, world.with_settings(), random.Random(seed)
        world.conn.execute(OVERSHOT)
        self.places = [world.place(2), world.place(3), world.place(0)]
        self.switched_off: set[str] = set()
        self.crashes = 0
        self.hand: list[Any] = []
        world.users(ADA, BOB, CLEO, TEAM_OWNER)
        world.users(*TEAM, owner=TEAM_OWNER)
        for user in self.dice.sample(PEOPLE, len(PEOPLE)):
            world.ask("assign", user)

    def live(self, steps: int) -> None:
        often = [self.assign, self.ask, self.turn, self.turn, self.work_on_all, self.let_time_pass, self.break_down]
        rules = [*often, self.pay, self.switch, self.resize, self.drain, self.sweep, self.lose_a_ticket]
        rules += [self.crash_with_a_message_in_hand, self.take_in_hand, self.answer_what_is_in_hand, *often]
        for _ in range(steps):
            self.dice.choice(rules)()
            self.seats_are_the_rows_that_hold_one()
            self.rows_and_histories_are_sound()

    def storm(self, steps: int) -> None:
        """The same while three workers work, each as fast as it can."""
        over = threading.Event()

        def toil() -> None:
            worker = self.world.with_settings().worker
            while not over.is_set():
                worker.run_once(4)

        rules = [self.assign, self.assign, self.ask, self.pay, self.switch, self.resize, self.drain, self.break_down]
        threads = [threading.Thread(target=toil) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(steps):
                self.dice.choice([*rules, self.sweep, self.lose_a_ticket, self.assign, self.ask, self.ask])()
                self.seats_are_the_rows_that_hold_one()
                self.rows_and_histories_are_sound()
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def user(self) -> str:
        return self.dice.choice(PEOPLE)

    def place(self) -> Place:
        return self.dice.choice(self.places)

    # What may happen.

    def assign(self) -> None:
        named = self.dice.random() < 0.3
        self.world.ask("assign", self.user(), **({"cluster_id": self.place().id} if named else {}))

    def ask(self) -> None:
        self.world.ask(self.dice.choice(["release", "release", "suspend", "reactivate"]), self.user())

    def pay(self) -> None:
        update = "update hopsworks.users set stripe_customer_id = %s where id = %s"
        self.world.conn.execute(update, (self.dice.choice([None, "cus_1"]), self.user()))

    def switch(self) -> None:
        place, status = self.place(), self.dice.choice(["active", "active", "active", "maintenance", "inactive"])
        place.change(status=status)
        if status == "inactive":
            self.switched_off.add(place.id)

    def resize(self) -> None:
        self.place().change(max_users=self.dice.randint(0, 4))

    def drain(self) -> None:
        place = self.place()
        place.change(status="maintenance")
        send(self.world.conn, QUEUE, {"action": "drain", "cluster_id": place.id})

    def break_down(self) -> None:
        self.place().fault(**self.dice.choice(FAULTS))

    def sweep(self) -> None:
        send(self.world.conn, QUEUE, {"action": self.dice.choice(["sweep", "sweep_seats", "sweep_accounts"])})

    def let_time_pass(self) -> None:
        move_clock(self.world.conn, self.dice.choice([1, 11, 31, 61, 95, 3700]))

    def lose_a_ticket(self) -> None:
        self.world.conn.execute(
            "delete from pgmq.q_cluster_assignments where msg_id in (select msg_id from pgmq.q_cluster_assignments"
            " where message->>'action' = 'advance' order by msg_id offset %s limit 1)",
            (self.dice.randint(0, 5),),
        )

    def crash_with_a_message_in_hand(self) -> None:
        """Twice at most: who dies three times with one message buries it."""
        self.crashes += 1
        if self.crashes <= 2:
            self.world.worker.claim(1)

    def take_in_hand(self) -> None:
        self.hand += self.other.worker.claim(self.dice.randint(1, 3))

    def answer_what_is_in_hand(self) -> None:
        """Much may have changed since; the lease may be over."""
        hand, self.hand = self.hand, []
        if hand:
            work(self.other.worker.running, hand)

    def turn(self) -> None:
        self.world.worker.run_once(self.dice.choice([1, 3, 50]))

    def work_on_all(self) -> None:
        self.world.run()

    # What has to hold.

    def seats_are_the_rows_that_hold_one(self) -> None:
        assert self.world.conn.execute(COUNTED_WRONG).fetchall() == []
        assert self.world.conn.execute("select told from public.overshot").fetchall() == []

    def rows_and_histories_are_sound(self) -> None:
        assert self.world.conn.execute(WRONG_ROWS).fetchall() == []
        assert self.world.conn.execute(BROKEN_HISTORIES).fetchall() == []

    def end(self) -> None:
        """The faults are mended, and all that waits has its turns."""
        self.world.box.clear_faults()
        self.answer_what_is_in_hand()
        for _ in range(8):
            move_clock(self.world.conn, 95)
            for action in ("sweep", "sweep_accounts"):
                send(self.world.conn, QUEUE, {"action": action})
            self.world.run()
        self.seats_are_the_rows_that_hold_one()
        assert self.world.conn.execute(NOBODY_LOOKS_AFTER).fetchall() == []
        for user in PEOPLE:
            if self.world.status(user) is not None:
                self.has_what_there_is(user)
                self.has_the_accounts_that_fit(user)

    def has_what_there_is(self, user: str) -> None:
        """Waits for a reason that is true; whoever has a seat on a cluster that works is active."""
        row = self.world.row(user)
        if row["status"] == "creating_user":
            assert str(row["detail"]).startswith(("CLUSTER_MAINTENANCE", "Stays on")), row["detail"]
        if row["status"] == "failed":
            assert row["status_reason"]
        if row["status"] != "pending":
            return
        assert str(row["detail"]).partition(":")[0] in CODES, row["detail"]
        if row["suspended_at"] is None and user not in TEAM:
            fitting = {row["wanted_cluster_id"]} - {None} or {place.row["id"] for place in self.places}
            assert [
                place.name for place in self.places if place.row["id"] in fitting and place.status == "active"
            ] == []

    def has_the_accounts_that_fit(self, user: str) -> None:
        row = self.world.row(user)
        for place in self.places:
            account = place.accounts.get(email_of(user))
            if place.id in self.switched_off or place.status not in {"active", "full"}:
                continue
            is_here = row["status"] == "active" and str(row["hopsworks_cluster_id"]) == place.id
            assert (account is not None and account["status"] == ENABLED) == (is_here and row["suspended_at"] is None)
            if is_here and account is not None:
                assert (row["hopsworks_username"], row["hopsworks_user_id"]) == (account["username"], account["id"])
                assert account["maxNumProjects"] == row["max_projects"]


@pytest.mark.parametrize("seed", range(int(os.environ.get("LIFE_SEEDS", "6"))))
def test_no_order_of_events_breaks_what_must_hold(world: World, seed: int) -> None:
    life = Life(world, seed)

    life.live(60)

    life.end()
    for place in life.places:
        place.change(max_users=1000)


@pytest.mark.parametrize("seed", range(int(os.environ.get("LIFE_SEEDS", "2"))))
def test_no_order_of_events_breaks_it_when_three_workers_work_at_once(world: World, seed: int) -> None:
    life = Life(world, seed)

    life.storm(100)

    life.end()
    for place in life.places:
        place.change(max_users=1000)


def test_rows_that_another_service_did_not_count_are_counted_when_they_are_adopted(world: World) -> None:
    """And one more than there are seats is refused, whatever wrote its row."""
    here = world.place(2)
    users = [f"auth0|u{number}" for number in range(3)]
    world.users(*users)
    for user in users:
        world.conn.execute(
            "insert into hopsworks.user_hopsworks_assignments (user_id, hopsworks_cluster_id) values (%s, %s)",
            (user, here.id),
        )

    for user in users:
        world.tell("assign", user)
    for _ in range(3):
        world.later(61)

    assert Counter(world.status(user) for user in users) == {"active": 2, "failed": 1}
    assert here.seats_taken == 2


def test_an_uncounted_row_that_leaves_takes_nobodys_seat_with_it(world: World) -> None:
    here = world.place(2)
    world.active(ADA)
    world.users(BOB)
    world.conn.execute(
        "insert into hopsworks.user_hopsworks_assignments (user_id, hopsworks_cluster_id) values (%s, %s)",
        (BOB, here.id),
    )

    world.conn.execute("update hopsworks.user_hopsworks_assignments set status = 'failed' where user_id = %s", (BOB,))

    assert here.seats_taken == 1
