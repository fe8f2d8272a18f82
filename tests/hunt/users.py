"""What users, nodes and services ask for, by messages and over HTTP."""

from contextlib import suppress
from typing import Any

import httpx

from hunt.known import CLUSTER_NODES, MEMBERS, NODES, PEOPLE, RECEIVERS, Act, Known
from hunt.world import World
from pgfleet.producers import event
from worlds.fleet import send

GPUS = {"h100": (1, 2, 4, 8), "t4": (1, 2, 4), "cpu-x86": (0,)}


def _reservation(known: Known) -> dict[str, Any]:
    dice, user = known.dice, known.dice.choice(PEOPLE)
    gpu_type = dice.choice(["h100", "h100", "h100", "t4", "cpu-x86"])
    body: dict[str, Any] = {
        "reservation_id": known.new_id(),
        "user_id": user,
        "github_user": user,
        "gpu_type": gpu_type,
        "gpu_count": dice.choice(GPUS[gpu_type]),
        "duration_hours": dice.choice((0.1, 0.5, 1, 4)),
    }
    fate = dice.random()
    if fate < 0.2 and gpu_type == "h100":
        body |= {"total_nodes": 2, "gpu_count": dice.choice((4, 8))}
    elif fate < 0.5:
        body |= {"disk_name": dice.choice(("data", "more"))}
    elif fate < 0.6:
        body |= {"start_in_s": dice.choice((600, 3600, 7200))}
    if dice.random() < 0.2:
        body |= {"jupyter_enabled": True}
    if dice.random() < 0.1 and gpu_type != "cpu-x86":
        body |= {"idle_minutes": 10}
    known.reservations.append((body["reservation_id"], user))
    return body


def _reserve(world: World, start_in_s: float | None = None, **body: Any) -> None:
    if start_in_s is not None:
        body["start_at"] = world.moment(start_in_s).isoformat()
    send(world.conn, "gpu_reservations", {"action": "create_reservation", **body})


def _request(known: Known) -> dict[str, Any]:
    dice = known.dice
    more: dict[str, dict[str, Any]] = {
        "cancel": {},
        "extend": {"extension_hours": dice.choice((0.5, 2))},
        "add_user": {"github_username": "bob"},
        "enable_jupyter": {},
        "disable_jupyter": {},
        "retry": {"request_id": known.new_id()},
    }
    action = dice.choices(list(more), (5, 2, 1, 1, 1, 1))[0]
    return {"action": action, **known.reservation(), **more[action]}


def _disk(known: Known) -> dict[str, Any]:
    dice = known.dice
    named = {"disk_name": dice.choice(("data", "more"))}
    bodies: dict[str, dict[str, Any]] = {
        "create_disk": {**named, "size_gb": 20},
        "snapshot_disk": named,
        "delete_disk": named,
        "undelete_disk": named,
        "clone_disk": {"source_disk": "data", "target_disk": "more"},
        "clear_disk_lock": named,
    }
    action = dice.choices(list(bodies), (4, 2, 1, 1, 1, 1))[0]
    return {"action": action, "operation_id": known.new_id(), "user_id": dice.choice(PEOPLE), **bodies[action]}


def _assignment(known: Known) -> dict[str, Any]:
    action = known.dice.choices(["assign", "release", "suspend", "reactivate"], (5, 2, 1, 1))[0]
    more = {"reason": "gone"} if action == "release" else {}
    return {"action": action, "user_id": known.dice.choice(MEMBERS), **more}


def _sends(queue: str) -> Any:
    def ask(world: World, **body: Any) -> None:
        send(world.conn, queue, body)

    return ask


def _beats(known: Known) -> dict[str, Any]:
    """Heartbeats of a few nodes, some sent twice, some older than others."""
    dice, beats = known.dice, []
    for _ in range(dice.randrange(1, 12)):
        of_cluster = dice.random() < 0.4
        node = dice.randrange(CLUSTER_NODES if of_cluster else NODES)
        what = {"ago_s": dice.choice((0, 0, 1, 30)), "fails": dice.random() < 0.2, "times": dice.choice((1, 1, 2))}
        beats.append({"id": known.new_id(), "node": node, "of_cluster": of_cluster, **what})
    return {"beats": beats}


def _beat(world: World, beats: list[dict[str, Any]]) -> None:
    for beat in beats:
        body = {
            "action": "heartbeat",
            "id": beat["id"],
            "source": "cluster" if beat["of_cluster"] else "autoscaler",
            "node_id": (world.cluster_nodes if beat["of_cluster"] else world.nodes)[beat["node"]],
            "status": "ok",
            "sent_at": world.moment(-beat["ago_s"]).isoformat(),
            **({"error_message": "broken"} if beat["fails"] else {}),
        }
        for _ in range(beat["times"]):
            send(world.conn, "node_heartbeats", body)


def _subscription(known: Known) -> dict[str, Any]:
    known.subscriptions.append(known.new_id())
    machines = known.dice.choice([None, ["reservation"], ["disk", "assignment"]])
    given = {"subscription_id": known.subscriptions[-1], "receiver": known.dice.randrange(RECEIVERS)}
    return {"user_id": known.dice.choice(PEOPLE), "machines": machines, **given}


def _subscribe(world: World, user_id: str, receiver: int, **wanted: Any) -> None:
    url = f"{world.receivers[receiver].url}/{wanted['subscription_id']}"
    event.subscribe(user_id, url, world.conn, **wanted)


def _of_subscription(known: Known) -> dict[str, Any]:
    action = known.dice.choice(["resume", "test", "unsubscribe"])
    return {"action": action, "subscription_id": known.dice.choice(known.subscriptions or [known.new_id()])}


def _ask_of_subscription(world: World, action: str, subscription_id: str) -> None:
    found = world.all("select user_id from public.event_subscriptions where subscription_id = %s", subscription_id)
    user = found[0]["user_id"] if found else PEOPLE[0]
    send(world.conn, "event_deliveries", {"action": action, "subscription_id": subscription_id, "user_id": user})


def _over_http(known: Known) -> dict[str, Any]:
    """A request of the API, perhaps sent again under the same key."""
    dice = known.dice
    action = dice.choice(["reserve", "reserve", "cancel", "list", "disk"])
    asked: dict[str, Any] = {"action": action, "user": dice.choice(PEOPLE), "times": dice.choice((1, 1, 2))}
    if action == "cancel":
        owned = known.reservation()
        return {**asked, "user": owned["user_id"], "key": owned["reservation_id"], "gpus": 1}
    return {**asked, "key": known.new_id(), "gpus": dice.choice((1, 2, 8))}


def _ask_over_http(world: World, action: str, user: str, key: str, gpus: int, times: int) -> None:
    """What is answered with success has to be so in the end."""
    same = {"Idempotency-Key": key}
    for _ in range(times):
        # An API that is killed meanwhile has promised nothing.
        with suppress(httpx.TransportError), world.as_user(user) as client:
            match action:
                case "reserve":
                    asked = {"gpu_type": "h100", "gpu_count": gpus, "duration_hours": 1, "github_user": user}
                    world.note(client.post("/v1/reservations", json=asked, headers=same))
                case "disk":
                    asked = {"disk_name": f"d-{key[:8]}", "size_gb": 20}
                    world.note(client.post("/v1/disks", json=asked, headers=same))
                case "cancel":
                    world.note(client.delete(f"/v1/reservations/{key}"))
                case _:
                    world.note(client.get("/v1/reservations"))


ACTS = {
    "reserve": Act(16, _reservation, _reserve, "{user_id} asks for {gpu_count} {gpu_type} for {duration_hours} h"),
    "request": Act(12, _request, _sends("gpu_reservations"), "{user_id} asks for {action} of a reservation"),
    "disk": Act(8, _disk, _sends("disk_operations"), "{user_id} asks for {action}"),
    "assignment": Act(8, _assignment, _sends("cluster_assignments"), "{action} of {user_id} is asked for"),
    "beats": Act(5, _beats, _beat, "Nodes send heartbeats"),
    "subscribe": Act(2, _subscription, _subscribe, "{user_id} wants events of {machines} at receiver {receiver}"),
    "of_subscription": Act(2, _of_subscription, _ask_of_subscription, "{action} of a subscription is asked for"),
    "over_http": Act(5, _over_http, _ask_over_http, "{user} asks the API for {action}, {times} times under one key"),
}
