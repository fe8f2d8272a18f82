"""Lists by pages: of reservations, disks and what was asked of disks."""

from base64 import urlsafe_b64encode

import pytest

from pgfleet.schema.reads.pages.keyset import encode
from worlds.api.audited import turned
from worlds.api.server import Api
from worlds.rows_of_disks import disk, operation, reservation

# Cursors of nobody: as deep as no parser goes, and with half a letter.
DEEP = f"cursor={urlsafe_b64encode(b'[' * 6000).decode()}"
HALF = f"cursor={encode('2026-11-28', chr(0xD800))}"


def test_a_user_sees_own_reservations_and_an_operator_everybodys(api: Api) -> None:
    """Nobody names another but an operator."""
    mine, other = reservation(api.conn, user_id="ada"), reservation(api.conn, user_id="bob")

    with api.as_user("ada") as ada, api.as_user("ops", role="DEVOPS") as ops:
        assert turned(ada, "/v1/reservations", "reservation_id") == [mine]
        assert set(turned(ops, "/v1/reservations", "reservation_id")) == {mine, other}
        assert turned(ops, "/v1/reservations", "reservation_id", user_id="bob") == [other]
        assert ada.get("/v1/reservations", params={"user_id": "bob"}).status_code == 403
        assert ada.get("/v1/reservations", params={"user_id": "ada"}).json()["items"][0]["user_id"] == "ada"


def test_filters_leave_what_they_say(api: Api) -> None:
    """By status (the seed's `running`, too), type, and whether it is over."""
    active, queued = reservation(api.conn, "active"), reservation(api.conn, "queued")
    over, other = reservation(api.conn, "cancelled"), reservation(api.conn, "queued", gpu_type="a100")

    with api.as_user("ada") as ada:
        found = {
            asked: set(turned(ada, "/v1/reservations", "reservation_id", **dict([asked.split("=")])))
            for asked in ("status=running", "gpu_type=h100", "live=true", "status=queued")
        }

    assert found["status=running"] == {active}
    assert found["gpu_type=h100"] == {active, queued, over}
    assert found["live=true"] == {active, queued, other}
    assert found["status=queued"] == {queued, other}


def test_pages_stay_as_they_are_while_rows_come(api: Api) -> None:
    """The second page begins after the first, whatever has come meanwhile."""
    ids = [reservation(api.conn, "pending") for _ in range(5)]

    with api.as_user("ada") as ada:
        first = ada.get("/v1/reservations", params={"limit": 2}).json()
        reservation(api.conn, "pending")
        second = ada.get("/v1/reservations", params={"limit": 3, "cursor": first["next"]}).json()

    assert [row["reservation_id"] for row in first["items"] + second["items"]] == ids[::-1]
    assert second["next"] is None


def test_since_leaves_what_has_changed(api: Api) -> None:
    """At that time or later."""
    old, new = reservation(api.conn, "pending"), reservation(api.conn, "pending")
    (moment,) = api.conn.execute("select clock_timestamp()").fetchone() or (None,)
    api.conn.execute("update public.reservations set name = 'n' where reservation_id = %s", (new,))

    with api.as_user("ada") as ada:
        found = turned(ada, "/v1/reservations", "reservation_id", since=moment.isoformat())

    assert found == [new] != [old]


@pytest.mark.parametrize(
    "asked",
    ["cursor=x", "cursor=WzEsMl0", DEEP, HALF, "limit=0", "limit=201", "since=yesterday", "status=happy", "nonsense=1"],
)
def test_what_can_not_be_asked_is_refused(api: Api, asked: str) -> None:
    """As a problem that says what is wrong."""
    with api.as_user("ada") as ada:
        answer = ada.get(f"/v1/reservations?{asked}")

    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert asked.partition("=")[0] in answer.text or "status" in answer.text


@pytest.mark.parametrize("path", ["/v1/disks", "/v1/audit", "/v1/dead-letters", "/v1/assignments"])
@pytest.mark.parametrize("place", [("2026-11-28T12:00:00+00:00", "no id"), ("2026-W01-1", "1"), ("0001-01-01", "")])
def test_a_cursor_of_no_list_is_a_mistake_of_who_asks(api: Api, path: str, place: tuple[str, str]) -> None:
    """Also one that looks like ours and names no place in this list; where it does it is a page."""
    with api.as_user("boss", role="ADMIN") as boss:
        answer = boss.get(path, params={"cursor": encode(*place)})

    assert answer.status_code == 400 or answer.json()["items"] == []


def test_disks_are_listed_and_those_that_are_gone_if_asked_for(api: Api) -> None:
    """Own ones; everybody's for an operator."""
    disk(api.conn, "data"), disk(api.conn, "old", "purged"), disk(api.conn, "others", user="bob")

    with api.as_user("ada") as ada, api.as_user("ops", role="DEVOPS") as ops:
        assert turned(ada, "/v1/disks", "disk_name") == ["data"]
        assert set(turned(ada, "/v1/disks", "disk_name", gone="true")) == {"data", "old"}
        assert set(turned(ops, "/v1/disks", "disk_name")) == {"data", "others"}
        assert ada.get("/v1/disks", params={"user_id": "bob"}).status_code == 403


def test_what_was_asked_of_a_disk_comes_by_pages(api: Api) -> None:
    """Of one's own disk of that name; another's name is not found."""
    disk(api.conn, "data"), disk(api.conn, "others", user="bob")
    ids = [operation(api.conn) for _ in range(3)]
    operation(api.conn, user_id="bob", disk_name="others"), operation(api.conn, user_id="bob", disk_name="data")

    with api.as_user("ada") as ada, api.as_user("ops", role="DEVOPS") as ops:
        assert turned(ada, "/v1/disks/data/operations", "operation_id", limit=2) == ids[::-1]
        assert ada.get("/v1/disks/others/operations").status_code == 404
        assert len(turned(ops, "/v1/disks/others/operations", "operation_id", user_id="bob")) == 1
