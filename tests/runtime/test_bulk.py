"""A claim that is answered as a whole: what can't be written fails alone, and what is not ours changes nothing."""

from collections.abc import Iterator
from typing import Any

import pytest

from pgfleet.workers.heartbeat.machine import KIND
from pgfleet.workers.runtime.work import work
from worlds.database import fresh_database
from worlds.fleet import move_clock, settings_for, worker_on
from worlds.heartbeats import Heart, heart_in

# Heartbeats that the database can't take, as often as `poison` says: a sequence forgets no rollback.
POISON = """
create table public.poison (heartbeat_id uuid primary key, state text, times integer);
create sequence public.poisoned;
create function public.poison_heartbeat() returns trigger language plpgsql security definer as $$
declare
  p public.poison;
begin
  select * into p from public.poison where heartbeat_id = new.heartbeat_id;
  if found and nextval('public.poisoned') <= p.times then
    if p.state = 'gone' then
      perform pg_terminate_backend(pg_backend_pid());
    end if;
    raise exception 'poison' using errcode = p.state;
  end if;
  return new;
end
$$;
create trigger poison before insert on autoscaler.node_heartbeats
  for each row execute function public.poison_heartbeat();
"""


@pytest.fixture(scope="module")
def module_heart(server_dsn: str, template: str) -> Iterator[Heart]:
    """One database for all."""
    with fresh_database(server_dsn, template) as dsn, heart_in(dsn) as running:
        running.conn.execute(POISON)
        yield running


@pytest.fixture
def heart(module_heart: Heart) -> Heart:
    module_heart.clean()
    module_heart.conn.execute("delete from public.poison")
    module_heart.one("select setval('public.poisoned', 1, false)")
    return module_heart


def batch(heart: Heart, number: int) -> tuple[list[int], list[dict[str, Any]]]:
    """So many nodes, and a heartbeat of each."""
    nodes = [heart.node() for _ in range(number)]
    return nodes, [heart.beat(node) for node in nodes]


def poison(heart: Heart, body: dict[str, Any], state: str = "P0001", times: int = 1_000_000) -> None:
    heart.conn.execute("insert into public.poison values (%s, %s, %s)", (body["id"], state, times))


def statuses(heart: Heart, nodes: list[int]) -> list[str]:
    return [heart.status(node) for node in nodes]


@pytest.mark.parametrize("places", [[0], [31], [7, 8, 22]], ids=str)
def test_poison_is_found_by_halving_and_dies_after_its_attempts_alone(heart: Heart, places: list[int]) -> None:
    nodes, bodies = batch(heart, 32)
    for place in places:
        poison(heart, bodies[place])

    heart.tell(*bodies)
    well = [node for place, node in enumerate(nodes) if place not in places]
    at_once = set(statuses(heart, well))
    heart.worker.run_until(lambda: heart.queue() == [])

    assert at_once == {"ACTIVE"}
    assert {len(heart.kept(node)) for node in well} == {1}
    assert {heart.status(nodes[place]) for place in places} == {"INACTIVE"}
    rows = heart.all("select row_id, attempts, split_part(reason, E'\\n', 1) from public.dead_letters order by 1")
    assert rows == sorted((str(nodes[place]), 3, "RaiseException: poison") for place in places)


def test_a_batch_that_is_all_poison_dies_and_blocks_nobody(heart: Heart) -> None:
    _, bodies = batch(heart, 8)
    for body in bodies:
        poison(heart, body)
    other = heart.node()

    heart.send(*bodies)
    heart.worker.run_once()
    heart.hear(other)
    heart.worker.run_until(lambda: heart.queue() == [])

    assert (len(heart.letters()), heart.status(other)) == (8, "ACTIVE")


@pytest.mark.parametrize("state", ["40P01", "40001", "gone"])
def test_what_passes_by_itself_is_tried_again_at_once_and_counts_as_no_attempt(heart: Heart, state: str) -> None:
    nodes, bodies = batch(heart, 8)
    poison(heart, bodies[3], state, times=2)

    heart.tell(*bodies)

    assert set(statuses(heart, nodes)) == {"ACTIVE"}
    assert {len(heart.kept(node)) for node in nodes} == {1}
    assert (heart.queue(), heart.letters()) == ([], [])


@pytest.mark.parametrize("state", ["55P03", "57014"], ids=["lock timeout", "statement timeout"])
def test_what_waits_for_somebody_is_put_back_alone_and_counts_as_no_attempt(heart: Heart, state: str) -> None:
    nodes, bodies = batch(heart, 8)
    poison(heart, bodies[3], state, times=1_000_000)
    heart.send(*bodies)

    heart.with_settings(lease_s=1).run_once()

    assert statuses(heart, nodes) == ["ACTIVE"] * 3 + ["INACTIVE"] + ["ACTIVE"] * 4
    (headers,) = heart.all("select headers -> 'pgfleet' from pgmq.q_node_heartbeats")
    assert (headers["attempts"], headers["released"]) == (0, 1)
    # Of eight (once more past what is held), four, two and one: nobody else waits while it is tried in vain.
    assert heart.one("select last_value from public.poisoned") == (5 if state == "55P03" else 4)


def test_a_node_held_in_somebodys_transaction_delays_only_its_own_heartbeats(
    heart: Heart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgfleet.workers.runtime.bulk.LOCK_TIMEOUT", "50ms")
    nodes, bodies = batch(heart, 16)
    bodies.append(heart.beat(nodes[5]))
    heart.send(*bodies)
    with heart.other() as holder:
        holder.execute("select from autoscaler.nodes where id = %s for update", (nodes[5],))
        patient = heart.with_settings(lease_s=1)

        patient.run_once()
        meanwhile = statuses(heart, nodes)
        put_back = heart.all("select headers -> 'pgfleet' ->> 'attempts' from pgmq.q_node_heartbeats")

    move_clock(heart.conn, 10)
    patient.run_until(lambda: heart.queue() == [])
    assert [place for place, status in enumerate(meanwhile) if status != "ACTIVE"] == [5]
    assert put_back == ["0", "0"]
    assert len(heart.kept(nodes[5])) == 2
    assert heart.letters() == []


def test_messages_that_somebody_deleted_meanwhile_change_nothing(heart: Heart) -> None:
    nodes, bodies = batch(heart, 6)
    numbers = heart.send(*bodies)
    tasks = heart.worker.claim()
    heart.conn.execute("delete from pgmq.q_node_heartbeats where msg_id = any(%s)", (numbers[::2],))

    work(heart.worker.running, tasks)

    assert statuses(heart, nodes) == ["INACTIVE", "ACTIVE"] * 3
    assert (heart.queue(), heart.letters()) == ([], [])


def test_words_about_messages_fit_them_although_some_were_lost(heart: Heart) -> None:
    bodies = [heart.beat(2_000_000_000 + number) for number in range(3)]
    numbers = heart.send(*bodies)
    tasks = heart.worker.claim()
    heart.conn.execute("delete from pgmq.q_node_heartbeats where msg_id = %s", (numbers[0],))

    work(heart.worker.running, tasks)

    rows = heart.all("select message ->> 'node_id' from pgmq.q_node_heartbeats order by msg_id")
    assert rows == ["2000000001", "2000000002"]


def test_a_stale_worker_writes_nothing(heart: Heart) -> None:
    nodes, bodies = batch(heart, 5)
    heart.send(*bodies)
    stale = heart.worker.claim()
    move_clock(heart.conn, 91)
    with worker_on(KIND, settings_for(heart.dsn)) as other:
        fresh = other.claim()

        work(heart.worker.running, stale)
        after_stale = (set(statuses(heart, nodes)), len(heart.queue()))
        work(other.running, fresh)
        work(heart.worker.running, stale)

    assert after_stale == ({"INACTIVE"}, 5)
    assert {len(heart.kept(node)) for node in nodes} == {1}
    assert heart.queue() == []


def test_a_message_that_ends_its_worker_is_a_dead_letter_after_three_deaths(heart: Heart) -> None:
    nodes, bodies = batch(heart, 3)
    heart.send(bodies[0])
    for _ in range(1 + 3):
        assert len(heart.worker.die()) == 1
        move_clock(heart.conn, 91)

    heart.tell(*bodies[1:])

    assert heart.letters() == ["the worker ended 3 times while it had this message in hand"]
    assert statuses(heart, nodes) == ["INACTIVE", "ACTIVE", "ACTIVE"]
    assert heart.queue() == []


def test_a_claim_of_everything_at_once_is_answered_each_by_its_own(heart: Heart) -> None:
    nodes, bodies = batch(heart, 3)
    cluster_node = heart.cluster_node()
    poison(heart, bodies[2])
    words: list[Any] = [bodies[0], None, {"action": "sweep"}, bodies[2], heart.beat(cluster_node), bodies[0]]
    words += [heart.beat(2_000_000_000), {"action": "roll_up"}, bodies[1], {"action": "x"}]

    heart.tell(*words)

    assert statuses(heart, [*nodes]) == ["ACTIVE", "ACTIVE", "INACTIVE"]
    assert heart.status(cluster_node) == "online"
    assert len(heart.letters()) == 2
    assert len(heart.queue()) == 2
    assert heart.swept("node") is not None
    assert heart.all("select active_nodes from autoscaler.system_analytics") != []
