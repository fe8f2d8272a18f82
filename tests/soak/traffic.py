"""A steady load: each sort of request in a thread of its own, so many a second, whatever the others do."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
import psycopg

from pgfleet.producers import event
from pgfleet.schema.gang.nodes import gang_ids
from soak.fleet import MEMBERS, OPERATOR, PEOPLE, SQL, Fleet
from worlds.database import Connection
from worlds.fleet import new_id, send

# How often a message that was sent is looked at until somebody has taken it, and for how long at most.
LOOK_S, GIVE_UP_S = 0.002, 10.0
TAKEN = "select 1 from pgmq.q_{} where msg_id = %s and read_ct = 0"
SHORT_HOURS = (0.003, 0.005, 0.008)
GPUS = {"h100": (1, 2, 4, 8), "t4": (1, 2), "cpu-x86": (0,)}
PATHS = (
    *("/v1/reservations", "/v1/disks", "/v1/me", "/v1/gpu-types", "/v1/gpu-usage"),
    *("/v1/queues", "/v1/nodes?limit=50", "/v1/assignments"),
)
# What is let go one day at a time: so many days are kept at first.
DAYS = 12


@dataclass
class Told:
    """What was asked for and seen so far, by all threads."""

    promised: list[str] = field(default_factory=list)
    took_ms: list[float] = field(default_factory=list)
    asked_ms: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)
    went_back: set[int] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)

    def taken_since(self) -> tuple[list[float], list[float]]:
        """Milliseconds until messages were taken and requests were answered, since this was asked last."""
        took, asked = self.took_ms[:], self.asked_ms[:]
        del self.took_ms[: len(took)], self.asked_ms[: len(asked)]
        return took, asked


@dataclass
class Sender:
    """One thread's own session, dice and client."""

    fleet: Fleet
    told: Told
    dice: Random
    conn: Connection
    clients: Mapping[str, httpx.Client]
    live: list[tuple[str, str]] = field(default_factory=list)
    subscriptions: list[tuple[str, str]] = field(default_factory=list)
    days: int = DAYS
    turn: int = 0

    def send(self, queue: str, body: dict[str, Any]) -> None:
        """Send, and look until somebody has taken it."""
        msg_id, began = send(self.conn, queue, body), time.monotonic()
        asked = TAKEN.format(queue).encode()
        while self.conn.execute(asked, (msg_id,)).fetchone() and time.monotonic() - began < GIVE_UP_S:
            time.sleep(LOOK_S)
        self.told.took_ms.append(1000 * (time.monotonic() - began))

    def ask(self, user: str, method: str, path: str, **given: Any) -> httpx.Response:
        began = time.monotonic()
        answer = self.clients[user].request(method, path, **given)
        self.told.asked_ms.append(1000 * (time.monotonic() - began))
        self.told.statuses[f"{method} {answer.status_code}"] += 1
        if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR or answer.status_code == httpx.codes.NOT_FOUND:
            self.told.odd.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        return answer

    def reserve(self) -> None:
        """By a message: some with a disk, some for two nodes; and what lasts too long is cancelled."""
        dice, user = self.dice, self.dice.choice(PEOPLE)
        gpu_type = dice.choice(["h100", "h100", "t4", "cpu-x86"])
        body: dict[str, Any] = {
            "action": "create_reservation",
            "reservation_id": new_id(),
            "user_id": user,
            "github_user": user,
            "gpu_type": gpu_type,
            "gpu_count": dice.choice(GPUS[gpu_type]),
            "duration_hours": dice.choice(SHORT_HOURS),
        }
        fate = dice.random()
        if fate < 0.12 and gpu_type == "h100":
            body |= {"total_nodes": 2, "gpu_count": 4}
        elif fate < 0.3:
            body |= {"disk_name": dice.choice(("data", "more"))}
        self.send("gpu_reservations", body)
        ids = gang_ids(body["reservation_id"], 2) if "total_nodes" in body else [body["reservation_id"]]
        self.told.promised += ids
        self._cancel_one(user, str(ids[0]))

    def _cancel_one(self, user: str, row_id: str) -> None:
        self.live.append((user, row_id))
        if len(self.live) > 6:
            user, row_id = self.live.pop(0)
            if self.dice.random() < 0.5:
                self.send("gpu_reservations", {"action": "cancel", "reservation_id": row_id, "user_id": user})

    def reserve_over_http(self) -> None:
        user = self.dice.choice(PEOPLE)
        body = {"gpu_type": "h100", "gpu_count": 1, "duration_hours": 0.1, "github_user": user}
        answer = self.ask(user, "POST", "/v1/reservations", json=body, headers={"Idempotency-Key": new_id()})
        if answer.is_success:
            row_id = str(answer.json()["id"])
            self.told.promised.append(row_id)
            self.live.append((user, row_id))
        if len(self.live) > 8:
            user, row_id = self.live.pop(0)
            self.ask(user, "DELETE", f"/v1/reservations/{row_id}")

    def disk(self) -> None:
        """A disk is made, given snapshots, deleted, brought back: always the same few."""
        action = self.dice.choices(["create_disk", "snapshot_disk", "delete_disk", "undelete_disk"], (4, 4, 2, 1))[0]
        body = {"action": action, "operation_id": new_id(), "user_id": self.dice.choice(PEOPLE)}
        more = {"size_gb": 20} if action == "create_disk" else {}
        self.send("disk_operations", {**body, "disk_name": self.dice.choice(("data", "more")), **more})

    def assign(self) -> None:
        action = self.dice.choices(["assign", "release"], (3, 2))[0]
        more = {"reason": "gone"} if action == "release" else {}
        self.send("cluster_assignments", {"action": action, "user_id": self.dice.choice(MEMBERS), **more})

    def read(self) -> None:
        self.turn += 1
        self.ask(OPERATOR, "GET", PATHS[self.turn % len(PATHS)])

    def subscribe(self) -> None:
        """A subscription comes, and the oldest of a few goes."""
        self.turn += 1
        user, receiver = self.dice.choice(PEOPLE), self.fleet.receivers[self.turn % len(self.fleet.receivers)]
        made = event.subscribe(user, f"{receiver.url}/{self.turn}", self.conn)
        self.subscriptions.append((user, made.subscription_id))
        if len(self.subscriptions) > 3:
            self._unsubscribe()

    def _unsubscribe(self) -> None:
        user, row_id = self.subscriptions.pop(0)
        self.send("event_deliveries", {"action": "unsubscribe", "subscription_id": row_id, "user_id": user})

    def house(self) -> None:
        """What is kept for a while is looked at once more; and a day goes."""
        self.turn += 1
        if self.turn % 3 == 0 and self.days > 1:
            self.days -= 1
            self.conn.execute(SQL["shorten_days"], {"days": self.days})
        self.conn.execute(SQL["house"])

    def stop(self) -> None:
        while self.subscriptions:
            self._unsubscribe()


# What is done, and how often a second.
WORK: Mapping[str, tuple[Callable[[Sender], None], float]] = {
    "reservations": (Sender.reserve, 0.4),
    "reservations over HTTP": (Sender.reserve_over_http, 0.15),
    "disks": (Sender.disk, 0.15),
    "assignments": (Sender.assign, 0.3),
    "reads": (Sender.read, 4.0),
    "subscriptions": (Sender.subscribe, 0.05),
    "house": (Sender.house, 1 / 20),
}


@contextmanager
def traffic(fleet: Fleet, seed: int) -> Iterator[Told]:
    """Until the end of the block."""
    told, ended = Told(), threading.Event()
    threads = [
        threading.Thread(target=_work, args=(fleet, told, ended, Random(f"{seed} {name}"), name), name=name)
        for name in WORK
    ]
    for thread in threads:
        thread.start()
    try:
        yield told
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _work(fleet: Fleet, told: Told, ended: threading.Event, dice: Random, name: str) -> None:
    act, per_s = WORK[name]
    with fleet.connected() as conn:
        clients = {
            user: httpx.Client(
                base_url=fleet.url, headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False
            )
            for user, key in fleet.api_keys.items()
        }
        sender = Sender(fleet, told, dice, conn, clients)
        try:
            while not ended.wait(dice.uniform(0.5, 1.5) / per_s):
                act(sender)
                told.done[name] += 1
            sender.stop()
        except (psycopg.Error, httpx.HTTPError) as error:
            told.odd.append(f"{name} ended: {error!r}")
        finally:
            for client in clients.values():
                client.close()
