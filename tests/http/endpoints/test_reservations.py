"""`/v1/reservations`."""

from worlds.api.server import Api

ASKED = {"gpu_type": "h100", "gpu_count": 1, "duration_hours": 2}


def test_what_was_asked_for_is_there_at_once(api: Api) -> None:
    """A GET right after the POST finds the row, pending, and its message is in the queue."""
    with api.as_user("ada") as ada:
        asked = ada.post("/v1/reservations", json=ASKED)
        found = ada.get(asked.headers["Location"])

    assert (asked.status_code, found.status_code) == (202, 200)
    assert (found.json()["status"], found.json()["user_id"], found.json()["gpu_count"]) == ("pending", "ada", 1)
