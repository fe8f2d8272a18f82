"""A field that nobody knows is refused with what was meant; what older senders add is let pass."""

import re
from typing import Any, get_type_hints

import pytest

from pgfleet.producers import disk as disk_producer
from pgfleet.producers.heartbeat import HeartbeatFields, Pool
from pgfleet.producers.reservation import ReservationFields, create_reservation
from pgfleet.schema import assignment, disk, heartbeat, reservation
from pgfleet.schema.explaining import LET_PASS
from pgfleet.schema.kinds import contracts
from pgfleet.schema.messages import BadMessage, Message
from pgfleet.schema.nearest import nearest
from pgfleet.schema.published.json_schema import schema_of
from worlds.fleet import Connection

ID = "5f0c2b1e-90d3-4a54-9c44-1d2f6d3f5a10"
OF_A_ROW = {"reservation_id": ID, "user_id": "ada"}
OF_A_DISK = {"operation_id": ID, "user_id": "ada", "disk_name": "data"}
POOL = {
    "oracle_pool_id": "p",
    "current_instances": 1,
    "active_instances": 1,
    "avg_cpu_utilization": 1,
    "avg_memory_utilization": 1,
}
BEAT = {"action": "heartbeat", "id": ID, "sent_at": "2026-11-28T12:00:00+00:00", "status": "ok"}
BODIES: dict[str, list[dict[str, Any]]] = {
    "reservation": [
        {"action": "create_reservation", **OF_A_ROW, "gpu_type": "h100", "gpu_count": 1},
        {"action": "cancel", **OF_A_ROW},
        {"action": "extend", **OF_A_ROW, "extension_hours": 1},
        {"action": "enable_jupyter", **OF_A_ROW},
        {"action": "disable_jupyter", **OF_A_ROW},
        {"action": "add_user", **OF_A_ROW, "github_username": "bob"},
        {"action": "retry", **OF_A_ROW},
    ],
    "disk": [
        {"action": "create_disk", **OF_A_DISK, "size_gb": 100},
        *({"action": name, **OF_A_DISK} for name in ("snapshot_disk", "delete_disk", "undelete_disk")),
        {"action": "clone_disk", "operation_id": ID, "user_id": "ada", "source_disk": "a", "target_disk": "b"},
        {"action": "restore_disk", **OF_A_DISK, "snapshot_id": ID},
        {"action": "clear_disk_lock", **OF_A_DISK},
    ],
    "assignment": [
        {"action": "assign", "user_id": "auth0|1"},
        {"action": "release", "user_id": "auth0|1", "reason": "left"},
        {"action": "suspend", "user_id": "auth0|1"},
        {"action": "reactivate", "user_id": "auth0|1"},
        {"action": "drain", "cluster_id": ID},
    ],
    "heartbeat": [
        {**BEAT, "source": "autoscaler", "node_id": 1, "pools": [POOL]},
        {**BEAT, "source": "cluster", "node_id": "n", "network_in_mbps": 1.5},
    ],
}
ALL = [(kind, body) for kind, bodies in BODIES.items() for body in bodies]
READ = {
    "reservation": reservation.read,
    "disk": disk.read,
    "assignment": assignment.read,
    "heartbeat": heartbeat.read,
}
EACH = pytest.mark.parametrize(("kind", "body"), ALL, ids=lambda given: str(given)[:50])


def names(kind: str, body: dict[str, Any], given: dict[str, Any]) -> set[str]:
    """Those of the given names that the published schema of a body's message takes."""
    of = schema_of(contracts()[kind].queue)["$defs"][type(READ[kind](body)).__name__]
    assert of["additionalProperties"] is False
    return {
        name
        for name in given
        if name in of["properties"] or any(re.search(each, name) for each in of["patternProperties"])
    }


def refused(kind: str, body: dict[str, Any]) -> str:
    with pytest.raises(BadMessage) as error:
        READ[kind](body)
    return str(error.value)


@pytest.mark.parametrize("kind", list(BODIES))
def test_every_request_is_tried(kind: str) -> None:
    tried = {type(READ[kind](body)) for body in BODIES[kind]}

    assert tried == set(contracts()[kind].requests.values())


@EACH
def test_a_field_that_is_not_known_is_refused_by_code_and_schema(kind: str, body: dict[str, Any]) -> None:
    strange = {**body, "colour": "red"}

    assert "colour: is not known" in refused(kind, strange)
    assert "colour" not in names(kind, body, strange)


@EACH
def test_what_older_senders_add_is_let_pass_by_code_and_schema(kind: str, body: dict[str, Any]) -> None:
    older = {**dict.fromkeys(LET_PASS, "x"), "x_team": {"any": "thing"}, **body}

    assert READ[kind](older) == READ[kind](body)
    assert names(kind, body, older) == older.keys()


@pytest.mark.parametrize(
    ("kind", "body", "says"),
    [
        ("reservation", {**BODIES["reservation"][0], "hours": 4}, "hours: is not known; did you mean duration_hours?"),
        ("reservation", {**BODIES["reservation"][0], "gpus": 4}, "did you mean gpu_type or gpu_count?"),
        ("reservation", {**BODIES["reservation"][0], "image": "a"}, "did you mean dockerimage?"),
        ("reservation", {**BODIES["reservation"][2], "hours": 4}, "did you mean extension_hours?"),
        ("disk", {**BODIES["disk"][0], "size": 4}, "did you mean size_gb?"),
        ("disk", {**BODIES["disk"][1], "q7": 4}, "known are operation_id"),
        ("heartbeat", {**BEAT, "source": "autoscaler", "node_id": 1, "pool": []}, "did you mean pools?"),
        (
            "heartbeat",
            {**BEAT, "source": "autoscaler", "node_id": 1, "pools": [{**POOL, "cpu_utilization": 1}]},
            "pools.0.cpu_utilization: is not known; did you mean avg_cpu_utilization or max_cpu_utilization?",
        ),
        ("reservation", {**BODIES["reservation"][0], "action": "create"}, "did you mean create_reservation?"),
    ],
    ids=lambda given: str(given)[:40],
)
def test_the_nearest_name_is_told(kind: str, body: dict[str, Any], says: str) -> None:
    told = refused(kind, body)

    assert says in told.replace("gpu_count or gpu_type", "gpu_type or gpu_count").replace(
        "max_cpu_utilization or avg_cpu_utilization", "avg_cpu_utilization or max_cpu_utilization"
    )


def test_fields_in_parts_are_let_pass_too_and_metrics_are_free() -> None:
    body = {**BEAT, "source": "autoscaler", "node_id": 1, "metrics": {"colour": 7}, "pools": [{**POOL, "x_rack": 3}]}

    message: Any = heartbeat.read(body)

    assert message.pools[0].oracle_pool_id == "p"
    assert message.metrics == {"colour": 7}


def test_the_old_form_of_a_cancellation_is_still_read() -> None:
    message = reservation.read({"type": "cancellation", **OF_A_ROW})

    assert isinstance(message, reservation.Cancel)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"disk_name": "a b"}, "disk_name: must be letters, digits, '-' and '_', at most 255"),
        ({"size_gb": 5}, "size_gb: must be at least 10, not 5"),
        ({"size_gb": "5"}, "size_gb: must be a whole number"),
        ({"user_id": None}, "user_id: must be text"),
        ({"operation_id": "7"}, "operation_id: must be a UUID"),
    ],
)
def test_a_wrong_value_is_told_in_a_sentence(wrong: dict[str, Any], says: str) -> None:
    assert says in refused("disk", {**BODIES["disk"][0], **wrong})


def test_a_wrong_keyword_of_a_producer_is_refused_before_it_is_sent(conn: Connection) -> None:
    wrong: Any = {"hours": 4}

    with pytest.raises(BadMessage, match="did you mean duration_hours"):
        create_reservation(conn, user_id="ada", gpu_type="h100", gpu_count=1, **wrong)

    assert conn.execute("select count(*) from pgmq.q_gpu_reservations").fetchone() == (0,)


def fields_of(*models: type[Message]) -> set[str]:
    return {name for model in models for name in model.model_fields} - {"action", "source"}


def test_what_producers_take_is_what_messages_have() -> None:
    assert get_type_hints(ReservationFields).keys() == fields_of(reservation.CreateReservation)
    assert get_type_hints(Pool).keys() == fields_of(heartbeat.PoolReport)
    assert get_type_hints(HeartbeatFields).keys() == fields_of(
        heartbeat.AutoscalerHeartbeat, heartbeat.ClusterHeartbeat
    )
    assert get_type_hints(disk_producer.IdAndKind).keys() <= fields_of(disk.SnapshotDisk)


@pytest.mark.parametrize(
    ("typed", "meant"), [("h1000", "h100"), ("H100", "h100"), ("a10", "a100"), ("canel", "cancel")]
)
def test_a_slip_is_near_to_what_was_meant(typed: str, meant: str) -> None:
    assert nearest(typed, ["h100", "a100", "t4", "cancel", "extend"])[0] == meant


def test_another_word_is_near_to_nothing() -> None:
    assert nearest("colour", ["h100", "cancel", "extend"]) == []
