"""A node has one active configuration, whoever sets it at once; all of before stay, and any is active again."""

import hashlib
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from pgfleet.schema.asking import Role
from pgfleet.schema.nodes import configurations
from pgfleet.schema.nodes.configurations import Kept
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import node as reads
from worlds.api.login import speaking_as
from worlds.heartbeats import Heart, pool

LIMITED = "pools: [{{instance_pool_id: {name}, scaling_limits: {{min: {least}, max: {most}}}}}]"


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def give(conn: Connection, node: int, text: str) -> Kept:
    return configurations.add(conn, node, configurations.read(text))


def limits(heart: Heart, name: str) -> tuple[int, int]:
    row = heart.pool(name)
    return row["min_instances"], row["max_instances"]


def drifts(heart: Heart, node: int) -> bool:
    (row,) = [row for row in reads.listing(heart.conn, reads.NodeFilters()) if row["id"] == node]
    return bool(row["drift"])


def test_a_new_configuration_retires_the_one_before_and_both_are_kept(heart: Heart, api: Connection) -> None:
    node = heart.node()

    with speaking_as(api):
        first, second = give(api, node, "a: 1"), give(api, node, "a: 2")
        found = configurations.listing(api, node)
        texts = [configurations.text_of(api, node), configurations.text_of(api, node, first.id)]

    assert (first.hash, second.hash, second.changed) == (sha("a: 1"), sha("a: 2"), True)
    assert [(row["id"], row["is_active"]) for row in found] == [(second.id, True), (first.id, False)]
    assert [row["activated_by"] for row in found] == ["ada", "ada"]
    assert texts == ["a: 2", "a: 1"]
    assert "yaml_config" not in found[0]


def test_the_active_text_again_changes_nothing(heart: Heart) -> None:
    node = heart.node()

    first, again = give(heart.conn, node, "a: 1"), give(heart.conn, node, "a: 1")

    assert again == Kept(first.id, first.hash, changed=False)
    assert len(configurations.listing(heart.conn, node)) == 1


def test_one_of_before_is_active_again_with_its_limits(heart: Heart) -> None:
    node = heart.node()
    heart.hear(node, pools=[pool("again")])
    first = give(heart.conn, node, LIMITED.format(name="again", least=2, most=5))
    give(heart.conn, node, LIMITED.format(name="again", least=7, most=9))
    between = limits(heart, "again")

    config_hash = configurations.activate(heart.conn, node, first.id)

    assert (between, limits(heart, "again"), config_hash) == ((7, 9), (2, 5), first.hash)
    assert [row["id"] for row in configurations.listing(heart.conn, node) if row["is_active"]] == [first.id]


def test_drift_shows_until_the_node_reports_the_hash(heart: Heart) -> None:
    node = heart.node()
    heart.hear(node)
    before = drifts(heart, node)

    kept = give(heart.conn, node, "a: 1")
    meanwhile = drifts(heart, node)
    heart.hear(node, config_hash=kept.hash)

    assert (before, meanwhile, drifts(heart, node)) == (False, True, False)
    assert [row["is_running"] for row in configurations.listing(heart.conn, node)] == [True]


@pytest.mark.parametrize(
    ("said", "becomes"),
    [
        ("{min: 3, max: 4}", (3, 4)),
        ("{min: 20}", (20, 20)),
        ("{max: 0}", (0, 0)),
        ("{max: 6}", (1, 6)),
        ("{min: 2}", (2, 10)),
    ],
)
def test_limits_are_set_and_what_is_not_said_stays_unless_it_would_contradict(
    heart: Heart, said: str, becomes: tuple[int, int]
) -> None:
    node = heart.node()
    heart.hear(node, pools=[pool("said")])

    give(heart.conn, node, f"pools: [{{instance_pool_id: said, scaling_limits: {said}}}]")

    assert limits(heart, "said") == becomes


def test_a_pool_that_is_reported_later_has_the_limits_too(heart: Heart) -> None:
    node = heart.node()
    give(heart.conn, node, LIMITED.format(name="later", least=2, most=5))

    heart.hear(node, pools=[pool("later"), pool("unnamed")])

    assert (limits(heart, "later"), limits(heart, "unnamed")) == ((2, 5), (1, 10))


def test_no_node_sets_the_limits_of_anothers_pool(heart: Heart) -> None:
    owner, other = heart.node(), heart.node()
    heart.hear(owner, pools=[pool("owned")])

    give(heart.conn, other, LIMITED.format(name="owned", least=0, most=0))

    assert limits(heart, "owned") == (1, 10)


def test_of_those_who_set_one_at_once_each_is_kept_and_one_is_active(heart: Heart) -> None:
    node = heart.node()
    heart.hear(node, pools=[pool("raced")])
    kept = [give(heart.conn, node, LIMITED.format(name="raced", least=n, most=n)) for n in range(4)]
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with psycopg.connect(heart.dsn, autocommit=True) as conn:
                for turn in range(8):
                    if turn % 2:
                        give(conn, node, LIMITED.format(name="raced", least=number, most=100 + turn))
                    else:
                        configurations.activate(conn, node, kept[number % 4].id)
        except psycopg.Error as error:
            failed.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()

    found = configurations.listing(heart.conn, node, most=1000)
    (active,) = [row for row in found if row["is_active"]]
    assert failed == []
    assert {row["id"] for row in found} >= {each.id for each in kept}
    said = active["scaling_limits"]["raced"]
    assert limits(heart, "raced") == (said["min"], said["max"])


def test_heartbeats_and_configurations_at_once_do_not_block_each_other_for_ever(heart: Heart) -> None:
    nodes = [heart.node() for _ in range(3)]
    names = ["zz", "b", "aaa"]
    heart.tell(*(heart.beat(node, pools=[pool(f"{name}{node}") for name in names]) for node in nodes))
    done = threading.Event()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with psycopg.connect(heart.dsn, autocommit=True) as conn:
                for turn in range(20):
                    for node in nodes:
                        parts = [
                            f"{{instance_pool_id: {name}{node}, scaling_limits: {{min: {turn}}}}}" for name in names
                        ]
                        give(conn, node, f"pools: [{', '.join(parts)}]")
        except psycopg.Error as error:
            failed.append(error)
        finally:
            done.set()

    setter = threading.Thread(target=work)
    setter.start()
    while not done.is_set():
        heart.tell(*(heart.beat(node, pools=[pool(f"{name}{node}") for name in names]) for node in nodes))
    setter.join()

    assert (failed, heart.letters()) == ([], [])


READS: dict[str, Callable[[Connection, int], Any]] = {
    "text_of": configurations.text_of,
    "listing": configurations.listing,
}
CALLS: dict[str, Callable[[Connection, int], Any]] = {
    **READS,
    "add": lambda conn, node: give(conn, node, "a: 1"),
    "activate": lambda conn, node: configurations.activate(conn, node, 1),
}
WRITES = sorted(CALLS.keys() - READS.keys())


def refused_as(api: Connection, call: str, node: int, role: Role, name: str) -> str | None:
    with pytest.raises(psycopg.Error) as refused, speaking_as(api, role, name):
        CALLS[call](api, node)
    return refused.value.sqlstate


@pytest.mark.parametrize("call", CALLS)
def test_no_user_sets_or_reads_one_though_called_as_the_node(heart: Heart, api: Connection, call: str) -> None:
    node = heart.node()

    assert refused_as(api, call, node, Role.USER, str(node)) == "PF013"


@pytest.mark.parametrize("call", WRITES)
def test_a_node_sets_none_of_its_own(heart: Heart, api: Connection, call: str) -> None:
    node = heart.node()

    assert refused_as(api, call, node, Role.NODE, str(node)) == "PF013"


@pytest.mark.parametrize("call", READS)
def test_a_node_reads_its_own_and_no_others(heart: Heart, api: Connection, call: str) -> None:
    node, other = heart.node(), heart.node()
    give(heart.conn, node, "a: 1")

    with speaking_as(api, Role.NODE, str(node)):
        own = CALLS[call](api, node)

    assert own
    assert refused_as(api, call, other, Role.NODE, str(node)) == "PF013"


def test_what_is_not_there_is_told(heart: Heart) -> None:
    node, other = heart.node(), heart.node()
    kept = give(heart.conn, other, "a: 1")
    heart.one("select autoscaler.remove_node(%s)", (other,))

    for call in (
        lambda: give(heart.conn, 0, "a: 1"),
        lambda: give(heart.conn, other, "a: 2"),
        lambda: configurations.activate(heart.conn, node, kept.id),
        lambda: configurations.activate(heart.conn, other, kept.id),
    ):
        with pytest.raises(psycopg.Error) as refused:
            call()
        assert refused.value.sqlstate == "PF008"
    assert configurations.text_of(heart.conn, node) is None


def test_the_database_itself_takes_no_text_that_is_too_large(heart: Heart) -> None:
    with pytest.raises(psycopg.Error) as refused:
        heart.one("select autoscaler.add_configuration(%s, repeat('#', 262145))", (heart.node(),))

    assert refused.value.sqlstate == "PF004"
