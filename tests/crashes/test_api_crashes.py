"""The API, killed while it does what a POST with a key asks: nothing by half, and asking again does it once."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from crashes.nursery import API, PORT, Nursery
from pgfleet.schema.identity import accounts, keys
from worlds.api.program import UNBOUND
from worlds.fleet import Connection, until, worker_environment
from worlds.network.ports import free_port

ANSWERING = "pgfleet.producers.http.answering"
# Where it dies, and how many rows there are then.
POINTS = [
    (f"{ANSWERING}:Desk._done", "before", 0),
    (f"{ANSWERING}:kept", "before", 0),
    (f"{ANSWERING}:kept", "after", 0),
    (f"{ANSWERING}:Desk._done", "after", 1),
    (f"{ANSWERING}:Desk._answer", "after", 1),
]
RESERVATION = {"gpu_type": "h100", "gpu_count": 1, "duration_hours": 1, "github_user": "ada"}
ASKED: dict[str, tuple[dict[str, Any], str, str]] = {
    "/v1/reservations": (RESERVATION, "public.reservations", "gpu_reservations"),
    "/v1/disks": ({"disk_name": "data", "size_gb": 20}, "public.disk_operations", "disk_operations"),
}


@pytest.mark.parametrize("path", ASKED)
@pytest.mark.parametrize(("place", "when", "rows"), POINTS)
def test_what_is_asked_with_a_key_of_an_api_that_is_killed_is_done_once(
    dsn: str, conn: Connection, forks: Nursery, tmp_path: Path, path: str, place: str, when: str, rows: int
) -> None:
    body, table, queue = ASKED[path]
    accounts.add(conn, "ada@example.org", username="ada")
    key, marker, port = keys.make(conn, "ada", hours=2).key, tmp_path / "killed", free_port()
    environment = worker_environment(dsn, None) | UNBOUND | {PORT: str(port)}
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "order-1"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60, trust_env=False) as client:
        with forks.worker(API, environment, marker, place, when, 1):
            until(lambda: answers(client), what="the API")
            with pytest.raises(httpx.TransportError):
                client.post(path, json=body)
            until(marker.exists, what=f"death {when} {place}")
        left = number_of(conn, table)

        with forks.worker(API, environment):
            until(lambda: answers(client), what="another API")
            first, second = client.post(path, json=body), client.post(path, json=body)

    assert left == rows
    assert (first.status_code, first.json()["id"]) == (second.status_code, second.json()["id"])
    assert first.is_success, first.text
    assert number_of(conn, table) == 1
    assert number_of(conn, f"pgmq.q_{queue}") == 1


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/openapi.json").is_success
    except httpx.TransportError:
        return False


def number_of(conn: Connection, rows: str) -> int:
    found = conn.execute(f"select count(*) from {rows}".encode()).fetchone()
    assert found is not None
    return int(found[0])
