"""`/v1/gpu-usage`: what reservations had of GPUs in a month."""

from worlds import rows_of_disks as rows
from worlds.api.server import Api
from worlds.outside.usage import set_clock

PATH = "/v1/gpu-usage"


def ran(api: Api, user: str, launched: str, ended: str | None, **columns: object) -> None:
    """An active reservation of two h100, or one that ended then."""
    set_clock(api.conn, launched)
    row_id = rows.reservation(api.conn, "active", None, user_id=user, launched_at=f"{launched}+00", **columns)
    if ended is not None:
        set_clock(api.conn, ended)
        api.conn.execute("update public.reservations set status = 'expired' where reservation_id = %s", (row_id,))


def test_hours_are_of_the_days_in_which_they_were(api: Api) -> None:
    """From the launch to the end, of what still runs up to now; nothing of another month."""
    ran(api, "ada", "2026-10-31 20:00", "2026-11-01 02:00")
    ran(api, "ada", "2026-11-09 22:00", "2026-11-10 01:00", gpu_type="a100", gpu_count=4)
    ran(api, "bob", "2026-11-10 10:00", None)
    set_clock(api.conn, "2026-11-10 11:30")

    with api.as_user("ops", role="DEVOPS") as ops:
        found = ops.get(PATH, params={"month": "2026-11"}).json()

    assert [(row["date"], row["gpu_type"], row["gpu_hours"]) for row in found["days"]] == [
        ("2026-11-01", "h100", 4.0),
        ("2026-11-09", "a100", 8.0),
        ("2026-11-10", "a100", 4.0),
        ("2026-11-10", "h100", 3.0),
    ]
    assert [(row["user_id"], row["gpu_type"], row["gpu_hours"], row["reservations"]) for row in found["users"]] == [
        ("ada", "a100", 12.0, 1),
        ("ada", "h100", 4.0, 1),
        ("bob", "h100", 3.0, 1),
    ]


def test_a_user_sees_their_own_and_an_operator_anybodys(api: Api) -> None:
    ran(api, "ada", "2026-11-09 10:00", "2026-11-09 11:00")
    ran(api, "bob", "2026-11-09 12:00", "2026-11-09 15:00")

    with api.as_user("ada") as ada, api.as_user("ops", role="DEVOPS") as ops:
        own = ada.get(PATH, params={"month": "2026-11"}).json()
        others = ada.get(PATH, params={"month": "2026-11", "user_id": "bob"})
        of_bob = ops.get(PATH, params={"month": "2026-11", "user_id": "bob"}).json()

    assert [(row["user_id"], row["gpu_hours"]) for row in own["users"]] == [("ada", 2.0)]
    assert [row["gpu_hours"] for row in own["days"]] == [2.0]
    assert others.status_code == 403
    assert [(row["user_id"], row["gpu_hours"]) for row in of_bob["users"]] == [("bob", 6.0)]
