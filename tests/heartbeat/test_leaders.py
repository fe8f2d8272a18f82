"""Leaders of clusters: elected, promoted and replaced under an epoch, one at a time."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from worlds.clusters import add, cluster_row, create, events, online, promote, update
from worlds.database import Connection, fresh_database


@pytest.fixture(scope="module")
def clusters_dsn(server_dsn: str, template: str) -> Iterator[str]:
    with fresh_database(server_dsn, template) as dsn:
        yield dsn


@pytest.fixture
def db(clusters_dsn: str) -> Iterator[Connection]:
    """One database for all: each test has clusters of its own."""
    with psycopg.connect(clusters_dsn, autocommit=True) as conn:
        yield conn


def leaders(conn: Connection, cluster: str) -> tuple[Any, Any]:
    row = cluster_row(conn, cluster)
    return row["primary_node_id"], row["coordinator_node_id"]


def epoch(conn: Connection, cluster: str) -> int:
    return int(cluster_row(conn, cluster)["epoch"])


def test_the_first_node_online_leads_alone_and_the_second_coordinates(db: Connection) -> None:
    cluster = create(db)

    first = online(db, cluster)
    alone = leaders(db, cluster)
    second = online(db, cluster)

    assert alone == (first, first)
    assert leaders(db, cluster) == (first, second)


def test_priority_then_health_then_id_decide_who_follows(db: Connection) -> None:
    cluster = create(db, p_max_nodes=10)
    primary = online(db, cluster, p_priority=100)
    online(db, cluster, "critical", p_priority=99)
    online(db, cluster, "unknown", p_priority=80)
    online(db, cluster, "warning", p_priority=80)
    well = [online(db, cluster, "healthy", p_priority=80) for _ in range(2)]
    online(db, cluster, "healthy", p_priority=10)

    update(db, primary, "offline")

    assert leaders(db, cluster)[0] == min(well)


@pytest.mark.parametrize("fall", [("offline", None), ("error", None), ("online", "critical"), ("maintenance", None)])
def test_a_primary_that_falls_is_replaced_under_the_next_epoch(db: Connection, fall: tuple[str, str | None]) -> None:
    cluster = create(db)
    old, new = online(db, cluster), online(db, cluster)
    before = epoch(db, cluster)

    update(db, old, *fall)

    assert leaders(db, cluster)[0] == new
    assert epoch(db, cluster) == before + 1
    (_, _, node, details) = events(db, cluster, "PRIMARY_CHANGED")[-1]
    assert (node, details) == (new, {"previous": old, "epoch": before + 1})


def test_an_old_primary_comes_back_as_an_ordinary_node(db: Connection) -> None:
    cluster = create(db)
    old, new, third = (online(db, cluster) for _ in range(3))
    update(db, old, "offline")
    before = epoch(db, cluster)

    update(db, old, "online", "healthy")

    assert leaders(db, cluster) == (new, third)
    assert epoch(db, cluster) == before


def test_without_a_candidate_nothing_changes_and_it_is_said_once(db: Connection) -> None:
    cluster = create(db)
    only = online(db, cluster)
    before = cluster_row(db, cluster)

    update(db, only, "offline")
    update(db, only, cpu_usage_percent=1)

    after = cluster_row(db, cluster)
    assert (after["primary_node_id"], after["epoch"]) == (only, before["epoch"])
    assert [(severity, node) for _, severity, node, _ in events(db, cluster, "NO_CANDIDATE")] == [("critical", only)]


def test_a_second_time_without_a_candidate_is_said_again(db: Connection) -> None:
    cluster = create(db)
    only = online(db, cluster)
    for _ in range(2):
        update(db, only, "offline")
        update(db, only, "online", "healthy")

    assert len(events(db, cluster, "NO_CANDIDATE")) == 2


def test_the_coordinator_is_replaced_alike(db: Connection) -> None:
    cluster = create(db)
    primary, coordinator, third = (online(db, cluster) for _ in range(3))

    update(db, coordinator, "offline")

    assert leaders(db, cluster) == (primary, third)
    assert events(db, cluster, "COORDINATOR_CHANGED")[-1][2:] == (
        third,
        {"previous": coordinator, "epoch": epoch(db, cluster)},
    )


def test_promotion_is_an_epoch_and_an_event_with_who_led_before(db: Connection) -> None:
    cluster = create(db)
    first, _, third = (online(db, cluster) for _ in range(3))
    before = epoch(db, cluster)

    answer = promote(db, third)

    assert answer == {
        "cluster_id": cluster,
        "primary_node_id": third,
        "previous_primary_node_id": first,
        "epoch": before + 1,
    }
    assert leaders(db, cluster)[0] == third
    assert events(db, cluster, "PROMOTED")[-1][3] == {"previous": first}


def test_promoting_the_primary_changes_nothing(db: Connection) -> None:
    cluster = create(db)
    node = online(db, cluster)
    before = cluster_row(db, cluster)

    promote(db, node)

    assert cluster_row(db, cluster) == before


def test_a_coordinator_that_is_promoted_hands_its_other_role_on(db: Connection) -> None:
    cluster = create(db)
    first, second = online(db, cluster), online(db, cluster)

    answer = promote(db, second)

    assert leaders(db, cluster) == (second, first)
    # Whoever was promoted may write under the epoch that the call answered.
    assert update(db, first) is not None
    assert epoch(db, cluster) == answer["epoch"]


@pytest.mark.parametrize("state", [(None, None), ("offline", None), ("maintenance", None), ("online", "critical")])
def test_a_node_that_is_not_fit_is_not_promoted(db: Connection, state: tuple[str | None, str | None]) -> None:
    cluster = create(db)
    leader, node = online(db, cluster), add(db, cluster)
    update(db, node, *state)

    with pytest.raises(psycopg.Error, match="it can't be primary") as refused:
        promote(db, node)

    assert refused.value.sqlstate == "PF010"
    assert leaders(db, cluster)[0] == leader


def test_of_fifty_promotions_at_once_each_is_one_epoch(db: Connection, clusters_dsn: str) -> None:
    cluster = create(db, p_max_nodes=5)
    nodes = [online(db, cluster) for _ in range(5)]
    before = epoch(db, cluster)

    def promotion(number: int) -> tuple[int, str, str]:
        with psycopg.connect(clusters_dsn, autocommit=True) as conn:
            answer = promote(conn, nodes[number % 5])
        return answer["epoch"], answer["previous_primary_node_id"], answer["primary_node_id"]

    with ThreadPoolExecutor(10) as threads:
        answers = sorted(threads.map(promotion, range(50)))

    changes = [answer for answer in answers if answer[1] != answer[2]]
    told = [details["epoch"] for _, _, _, details in events(db, cluster, "PRIMARY_CHANGED")]
    assert [number for number, _, _ in changes] == [number for number in told if number > before]
    # Who led before is who was made primary by the change before.
    assert [previous for _, previous, _ in changes[1:]] == [primary for _, _, primary in changes[:-1]]
    assert leaders(db, cluster)[0] == changes[-1][2]


def test_epochs_have_no_gap_whoever_changes_a_leader(db: Connection) -> None:
    cluster = create(db)
    nodes = [online(db, cluster) for _ in range(3)]
    before = epoch(db, cluster)

    db.execute("update clusters.clusters set primary_node_id = %s where cluster_id = %s", (nodes[2], cluster))

    assert epoch(db, cluster) == before + 1
    for wrong in (before, before + 3):
        with pytest.raises(psycopg.Error, match="is at epoch") as refused:
            db.execute("update clusters.clusters set epoch = %s where cluster_id = %s", (wrong, cluster))
        assert refused.value.sqlstate == "PF009"


def test_a_leader_by_hand_is_one_that_may_lead(db: Connection) -> None:
    cluster = create(db)
    online(db, cluster)
    provisioning = add(db, cluster)

    with pytest.raises(psycopg.Error) as refused:
        db.execute("update clusters.clusters set primary_node_id = %s where cluster_id = %s", (provisioning, cluster))

    assert refused.value.sqlstate == "PF010"


def test_a_leader_is_a_node_of_its_own_cluster(db: Connection) -> None:
    cluster, foreign = create(db), online(db, create(db))

    with pytest.raises(psycopg.Error):
        db.execute("update clusters.clusters set primary_node_id = %s where cluster_id = %s", (foreign, cluster))


@pytest.mark.parametrize(
    "call",
    [
        "select clusters.promote_to_primary(%(node)s, %(epoch)s)",
        "select clusters.update_node_status(%(node)s, 'online', p_epoch := %(epoch)s)",
        "select clusters.add_cluster_node(%(cluster)s, 'late', p_epoch := %(epoch)s)",
        "select clusters.record_cluster_metrics(%(cluster)s, p_epoch := %(epoch)s)",
    ],
)
def test_who_knows_only_an_old_epoch_is_refused(db: Connection, call: str) -> None:
    cluster = create(db)
    old, _ = online(db, cluster), online(db, cluster)
    known = epoch(db, cluster)
    db.execute(call.encode(), {"node": old, "cluster": cluster, "epoch": known})
    update(db, old, "offline")

    with pytest.raises(psycopg.Error, match="knows only epoch") as refused:
        db.execute(call.encode(), {"node": old, "cluster": cluster, "epoch": known})

    assert refused.value.sqlstate == "PF009"
