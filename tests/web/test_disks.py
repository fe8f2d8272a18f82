from uuid import uuid4

import pytest

from worlds import rows_of_disks as rows
from worlds.web.site import Site, fields_of

HOSTILE = '<script>alert("x")</script>\u202egnp.exe'


def asked(site: Site) -> list[tuple[str, str, str]]:
    """What was asked of disks: the action, whose disk, its name."""
    found = site.api.conn.execute(
        "select action, user_id, disk_name from public.disk_operations order by created_at, operation_id"
    )
    return found.fetchall()


def test_a_user_sees_their_own_disks_and_an_operator_everybodys(site: Site) -> None:
    rows.disk(site.api.conn, "hers", user="ada")
    rows.disk(site.api.conn, "his", user="mallory")

    own, all_of_them = (site.signed_in(*who).get("/disks").text for who in (("ada", "USER"), ("ops", "DEVOPS")))

    assert "hers" in own
    assert "his<" not in own
    assert "Quarantine" not in own
    assert "hers" in all_of_them
    assert "his<" in all_of_them
    assert "Quarantine" in all_of_them


def test_without_disks_the_page_says_how_the_first_is_made(site: Site) -> None:
    page = site.signed_in("ada").get("/disks")

    assert "There are none yet" in page.text
    assert 'href="/new-disk"' in page.text


def test_the_filter_is_in_the_address(site: Site) -> None:
    for name, status in (("models", "available"), ("models-old", "deleted"), ("scratch", "available")):
        rows.disk(site.api.conn, name, status)

    page = site.signed_in("ada").get("/disks?name=MODELS&status=available&user_id=")

    assert ">models<" in page.text
    assert "models-old" not in page.text
    assert "scratch" not in page.text


def test_a_disk_is_asked_for_once_however_often_the_button_is_pressed(site: Site) -> None:
    ada = site.signed_in("ada")
    form = ada.get("/new-disk")

    answers = [ada.press(form, "/do/create_disk", disk_name="data", size_gb="50") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [303, 303]
    assert answers[0].headers["location"] == answers[1].headers["location"]
    assert asked(site) == [("create_disk", "ada", "data")]
    followed = ada.get(answers[0].headers["location"])
    assert "pending" in followed.text
    assert "data" in followed.text


def test_what_is_wrong_with_a_new_disk_is_told_and_what_was_typed_is_still_there(site: Site) -> None:
    ada = site.signed_in("ada")

    refused = ada.press(ada.get("/new-disk"), "/do/create_disk", disk_name="data", size_gb="3")

    assert refused.status_code == 400
    assert "size_gb" in refused.text
    assert "/new-disk?disk_name=data&amp;size_gb=3" in refused.text


@pytest.mark.parametrize(
    ("status", "offered", "not_offered"),
    [
        ("available", {"clone_disk", "delete_disk", "restore_disk"}, {"snapshot_disk", "undelete_disk"}),
        ("deleted", {"undelete_disk"}, {"clone_disk", "delete_disk", "restore_disk", "snapshot_disk"}),
        ("purged", set(), {"undelete_disk", "clone_disk", "delete_disk", "restore_disk"}),
    ],
)
def test_a_disk_offers_what_its_state_allows(site: Site, status: str, offered: set[str], not_offered: set[str]) -> None:
    disk_id = rows.disk(site.api.conn, "data", "available")
    rows.snapshot(site.api.conn, disk_id)
    for stop in rows.ROADS[status][1:]:
        rows.change_disk(site.api.conn, disk_id, status=stop, status_reason="x")

    page = site.signed_in("ada").get("/disks/data")

    assert {each for each in offered | not_offered if f"/do/{each}" in page.text} == offered


def test_a_deletion_says_what_it_leads_to_and_pressed_twice_is_one(site: Site) -> None:
    rows.disk(site.api.conn, "data")
    ada = site.signed_in("ada")
    page = ada.get("/disks/data")

    for _ in range(2):
        assert ada.press(page, "/do/delete_disk").status_code == 303

    assert "For 30 days it can be brought back" in page.text
    assert asked(site) == [("delete_disk", "ada", "data")]


def test_an_operator_asks_for_whose_disk_it_is(site: Site) -> None:
    disk_id = rows.disk(site.api.conn, "data", user="ada")
    whole = rows.snapshot(site.api.conn, disk_id)
    ops = site.signed_in("ops", "DEVOPS")
    page = ops.get("/disks/data?user_id=ada")

    done = ops.press(page, "/do/restore_disk", snapshot_id=whole)

    assert done.headers["location"] == "/disks/data?user_id=ada"
    assert asked(site) == [("restore_disk", "ada", "data")]


def test_another_users_disk_is_not_there(site: Site) -> None:
    rows.disk(site.api.conn, "data", user="mallory")
    operation = rows.operation(site.api.conn, user_id="mallory")
    ada = site.signed_in("ada")

    assert ada.get("/disks/data").status_code == 404
    assert ada.get("/disks/data?user_id=mallory").status_code == 403
    assert ada.get(f"/disk-operations/{operation}").status_code == 404
    assert ada.get("/quarantine").status_code == 403


def test_how_far_a_snapshot_is_is_shown(site: Site) -> None:
    disk_id = rows.disk(site.api.conn, "data")
    made = rows.snapshot(site.api.conn, disk_id, "creating", progress_percent=40)
    rows.operation(site.api.conn, "in_progress", action="snapshot_disk", disk_id=disk_id, snapshot_id=made)

    page = site.signed_in("ada").get("/disks/data")

    assert page.text.count("40 % done") >= 2


def test_what_somebody_wrote_is_shown_harmlessly(site: Site) -> None:
    disk_id = rows.disk(site.api.conn, "data", detail=HOSTILE)
    rows.operation(site.api.conn, "failed", disk_id=disk_id, error=HOSTILE)
    ada = site.signed_in("ada")

    for page in (ada.get("/disks"), ada.get("/disks/data")):
        assert "<script>alert" not in page.text
        assert "\u202e" not in page.text
        assert "&lt;script&gt;" in page.text


def test_quarantine_shows_volumes_and_pods_that_no_row_has(site: Site) -> None:
    site.api.conn.execute("insert into public.disk_quarantine (resource_id, reason) values ('vol-0a1b', 'no row')")
    site.api.conn.execute(
        "insert into public.pod_quarantine (pod_uid, pod_name, namespace, gpus, reason)"
        " values ('u', 'gpu-dev-stray', 'gpu-dev', 8, 'no row')"
    )

    page = site.signed_in("ops", "DEVOPS").get("/quarantine")

    assert "vol-0a1b" in page.text
    assert "gpu-dev-stray" in page.text


def test_a_deletion_of_the_api_is_one_by_its_operation_id(site: Site) -> None:
    rows.disk(site.api.conn, "data")
    operation = str(uuid4())

    with site.api.as_user("ada") as client:
        answers = [client.delete(f"/v1/disks/data?operation_id={operation}") for _ in range(2)]

    assert [answer.json()["id"] for answer in answers] == [operation, operation]
    assert asked(site) == [("delete_disk", "ada", "data")]


def test_a_form_of_another_site_does_nothing(site: Site) -> None:
    rows.disk(site.api.conn, "data")
    ada = site.signed_in("ada")
    fields = fields_of(ada.get("/disks/data"), "/do/delete_disk")

    answer = ada.post("/do/delete_disk", fields, **{"Sec-Fetch-Site": "cross-site"})

    assert answer.status_code == 403
    assert asked(site) == []
