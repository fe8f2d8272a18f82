import re
from typing import Any

from pgfleet.schema.reads.pictures.figures import take
from worlds.fleet import until
from worlds.web.site import Browser, Site

AT = re.compile(r"Examined <time[^>]*>")
SEND = 'select pgmq.send(\'gpu_reservations\', \'{"action": "cancel", "reservation_id": "x", "user_id": "ada"}\')'


def paused(site: Site) -> list[tuple[Any, ...]]:
    return site.api.conn.execute("select what, by_whom, reason from public.pauses").fetchall()


def test_the_board_says_how_much_is_ready_and_how_it_went(site: Site) -> None:
    for _ in range(3):
        site.api.conn.execute(SEND.encode())
    take(site.api.conn, "me", 60)
    site.api.conn.execute("update public.figures set at = at - interval '20 minutes'")
    take(site.api.conn, "me", 60)

    page = site.signed_in("ops", "DEVOPS").get("/queues").text

    row = page.partition(">reservation<")[2].partition("</tr>")[0]
    assert ">3<" in row
    assert "ready over 24 hours: at most 3" in row
    assert "In / min" in row


def test_a_kind_is_paused_with_a_reason_and_goes_on(site: Site) -> None:
    ops = site.signed_in("ops", "DEVOPS")
    page = ops.get("/queues")
    form = {"path.what": "disk", "reason": "AWS is being moved", "once": "1"}

    for _ in range(2):
        assert ops.post("/do/begin_pause", form).status_code == 303

    assert "Pause disk" in page.text
    assert paused(site) == [("disk_operations", "ops", "AWS is being moved")]
    held = ops.get("/queues")
    assert "AWS is being moved" in held.text
    assert "Pause disk" not in held.text

    assert ops.press(held, "/do/end_pause").status_code == 303
    assert paused(site) == []


def test_a_pause_says_what_it_leads_to(site: Site) -> None:
    page = site.signed_in("ops", "DEVOPS").get("/queues").text

    assert "Workers take no disk message until it goes on" in page
    assert "what has ended keeps its pod" in page


def test_queues_are_no_matter_of_users(site: Site) -> None:
    ada = site.signed_in("ada")

    assert ada.get("/queues").status_code == 403
    assert ada.post("/do/begin_pause", {"path.what": "disk"}).status_code == 403
    assert "Queues" not in ada.get("/").text.partition("</nav>")[0]


def test_who_works_is_listed_with_version_and_what_is_in_hand(site: Site) -> None:
    site.api.conn.execute("select public.note_worker('disk@host-1:17', 'disk_operations', '1.2.3', 5)")

    page = site.signed_in("ops", "DEVOPS").get("/queues").text

    row = page.partition("disk@host-1:17")[2].partition("</tr>")[0]
    assert "1.2.3" in row
    assert "5 messages" in row
    assert "works" in row


def test_where_nobody_works_the_page_says_how_to_begin(site: Site) -> None:
    assert "pgfleet worker reservation" in site.signed_in("ops", "DEVOPS").get("/queues").text


def examined(browser: Browser) -> str:
    """The findings, once they are there; until then the page asks again by itself."""
    waits = 'hx-trigger="load delay'

    def found() -> str | None:
        text = browser.get("/doctor/findings").text
        return None if waits in text else text

    return str(until(found, what="findings"))


def test_the_doctor_is_asked_once_however_many_look_and_says_when(site: Site) -> None:
    ops, eve = site.signed_in("ops", "DEVOPS"), site.signed_in("eve", "DEVOPS")

    first, second = examined(ops), eve.get("/doctor/findings").text

    assert AT.findall(first) == AT.findall(second) != []


def test_the_doctor_lists_what_is_wrong_before_what_is_well(site: Site) -> None:
    site.api.conn.execute("insert into public.pauses (what, reason) values ('disk_operations', '<b>why</b>')")
    ops = site.signed_in("ops", "DEVOPS")

    page, found = ops.get("/doctor").text, examined(ops)

    assert 'hx-get="/doctor/findings"' in page
    assert "pgfleet resume disk" in found
    assert "<b>why" not in found
    assert found.index("pgfleet resume disk") < found.index("Well:")


def test_the_doctor_takes_no_sequence_that_it_may_not_read_for_one_that_is_behind(site: Site) -> None:
    found = examined(site.signed_in("ops", "DEVOPS"))

    assert "which may be taken" not in found
    assert "this login may not read" in found.partition("Not for the login of the API")[2]


def test_the_doctor_is_no_matter_of_users(site: Site) -> None:
    ada = site.signed_in("ada")

    assert [ada.get(path).status_code for path in ("/doctor", "/doctor/findings")] == [403, 403]
