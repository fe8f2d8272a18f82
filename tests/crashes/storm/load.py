"""What is asked for while all are killed: by messages all the time, and over HTTP until there is an answer."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from random import Random
from threading import Event, Thread
from typing import Any

import httpx

from hunt.known import PEOPLE, Known
from hunt.users import ACTS
from hunt.world import World

# How often in a second each is asked for. Of beats, some heartbeats each.
RATES = {
    "reserve": 0.3,
    "request": 0.3,
    "disk": 1.0,
    "assignment": 2.0,
    "beats": 3.0,
    "subscribe": 0.03,
    "of_subscription": 0.1,
}
HOURS = (0.0003, 0.001, 0.003)
ASKERS, ASKED_EVERY_S = 3, 6.0


@dataclass
class Load:
    """A thread that has a connection of its own would not help: it sends between two looks at who is to be killed."""

    world: World
    known: Known
    due: dict[str, float] = field(default_factory=dict)
    asked: int = 0

    def tick(self) -> None:
        now = time.monotonic()
        for name, rate in RATES.items():
            if now >= self.due.setdefault(name, now):
                self.due[name] = max(self.due[name] + 1 / rate, now - 1)
                ACTS[name].do(self.world, **_short(name, ACTS[name].make(self.known), self.known))
                self.asked += 1


def _short(name: str, given: dict[str, Any], known: Known) -> dict[str, Any]:
    """All that begins ends soon by the clock on the wall, which is not moved while anybody is killed."""
    if name == "reserve":
        return {**given, "duration_hours": known.dice.choice(HOURS), "start_in_s": None, "idle_minutes": None}
    return given


@dataclass
class Asker:
    """A client of the API, that asks again under its key until it is answered: what it is promised is one row each."""

    url: str
    key: str
    user: str
    dice: Random
    ends: Event = field(default_factory=Event)
    promised: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    repeats: int = 0

    def run(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False) as client:
            for number in cycle(range(4)):
                if self.ends.wait(self.dice.uniform(0, ASKED_EVERY_S)):
                    return
                self._reserve(client)
                # Most are cancelled soon, so that there is a turn for others.
                if number:
                    self._ask(client, "DELETE", f"/v1/reservations/{self.promised[-1]}" if self.promised else "/v1/me")

    def _reserve(self, client: httpx.Client) -> None:
        body = {"gpu_type": "h100", "gpu_count": 1, "duration_hours": 0.1, "github_user": self.user}
        same = {"Idempotency-Key": f"{self.user}-{self.dice.getrandbits(60)}"}
        answer = self._ask(client, "POST", "/v1/reservations", json=body, headers=same)
        if answer is not None and answer.is_success:
            again = (
                self._ask(client, "POST", "/v1/reservations", json=body, headers=same)
                if self.dice.random() < 0.2
                else answer
            )
            if again is not None and again.json()["id"] != answer.json()["id"]:
                self.odd.append(f"I2: one key made {answer.json()['id']} and {again.json()['id']}")
            self.promised.append(answer.json()["id"])

    def _ask(self, client: httpx.Client, method: str, path: str, **given: Any) -> httpx.Response | None:
        """The answer, however often it takes; None where it is time to end."""
        while not self.ends.is_set():
            try:
                answer = client.request(method, path, **given)
            except httpx.TransportError:
                self.repeats += 1
                self.ends.wait(0.02)
                continue
            if answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
                self.odd.append(f"{method} {path}: 500 {answer.text[:200]}")
            if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                self.ends.wait(0.05)
                continue
            return answer
        return None


@contextmanager
def asking(world: World, seed: int) -> Iterator[list[Asker]]:
    askers = []
    for number, user in enumerate(PEOPLE[:ASKERS]):
        world.as_user(user).close()
        askers.append(Asker(world.url, world.api_keys[user], user, Random(seed + number)))
    threads = [Thread(target=asker.run, daemon=True) for asker in askers]
    for thread in threads:
        thread.start()
    try:
        yield askers
    finally:
        for asker in askers:
            asker.ends.set()
        for thread in threads:
            thread.join()
        for asker in askers:
            world.promised += asker.promised
            world.odd += asker.odd
