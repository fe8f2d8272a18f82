import re
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from worlds import rows_of_disks as rows
from worlds.web.site import Browser, Site

HOSTILE = '<img src=x onerror="alert(1)">\u202egnp.exe'
BODY = {
    "action": "cancel",
    "user_id": "ada",
    "env_vars": {"HF_TOKEN": "hf_abc"},
    "command": "curl -u me:hunter2",
    "api_key": "sk-123",
    "pasword": "hunter3",
    "name": HOSTILE,
}


def letter(site: Site, reason: str = "it broke", **columns: Any) -> str:
    """A dead letter; its number."""
    row = {
        "queue": "gpu_reservations",
        "msg_id": 7,
        "message": Jsonb(BODY),
        "reason": reason,
        "attempts": 3,
        "enqueued_at": "2026-11-29T10:00:00Z",
        **columns,
    }
    names, places = ", ".join(row), ", ".join(f"%({name})s" for name in row)
    query = f"insert into public.dead_letters ({names}) values ({places}) returning dead_letter_id"
    return str(site.api.conn.execute(query.encode(), row).fetchall()[0][0])


def answers(site: Site) -> list[tuple[Any, ...]]:
    found = site.api.conn.execute("select answer, answered_by from public.dead_letters order by dead_letter_id")
    return found.fetchall()


def in_queue(site: Site) -> int:
    return int(site.api.conn.execute("select count(*) from pgmq.q_gpu_reservations").fetchall()[0][0])


def said(browser: Browser, path: str = "/dead-letters") -> str:
    """What the next page says of what was just done."""
    found = re.search(r'<p class="said" role="status">(.*?)</p>', browser.get(path).text)
    assert found is not None
    return found[1]


def test_where_nothing_has_died_the_page_says_what_would_be_there(site: Site) -> None:
    page = site.signed_in("ops", "DEVOPS").get("/dead-letters")

    assert "No dead letter is open" in page.text
    assert "comes here with its reason" in page.text


def test_they_are_no_matter_of_users(site: Site) -> None:
    number = letter(site)
    ada = site.signed_in("ada")

    assert ada.get("/dead-letters").status_code == 403
    assert ada.get(f"/dead-letters/{number}").status_code == 403
    assert ada.post("/do/replay_dead_letter", {"path.id": number}).status_code == 403
    assert answers(site) == [(None, None)]


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", {"broken pod", "no such disk", "bad field"}),
        ("kind=disk", {"no such disk"}),
        ("verdict=rejection", {"bad field"}),
        ("reason=POD", {"broken pod"}),
        ("row=abc", {"broken pod"}),
    ],
)
def test_the_filter_is_in_the_address(site: Site, query: str, shown: set[str]) -> None:
    letter(site, "broken pod", row_id="abcdef")
    letter(site, "no such disk", queue="disk_operations")
    letter(site, "bad field", verdict="rejection")

    page = site.signed_in("ops", "DEVOPS").get(f"/dead-letters?{query}")

    assert {each for each in ("broken pod", "no such disk", "bad field") if each in page.text} == shown


def test_a_letter_shows_its_message_without_secrets_and_who_sent_it(site: Site) -> None:
    number = letter(site, headers=Jsonb({"asked_by": "ada", "asked_role": "USER"}))

    page = site.signed_in("ops", "DEVOPS").get(f"/dead-letters/{number}").text

    assert "HF_TOKEN" in page
    assert "ada (USER)" in page
    for secret in ("hf_abc", "hunter2", "sk-123", "hunter3"):
        assert secret not in page


def test_the_api_tells_the_same_of_it(site: Site) -> None:
    number = letter(site, headers=Jsonb({"asked_by": "ada", "asked_role": "USER"}))

    with site.api.as_user("ops", "DEVOPS") as client:
        told = client.get(f"/v1/dead-letters/{number}").json()

    assert told["asked_by"] == "ada"
    assert told["message"]["env_vars"] == {"HF_TOKEN": "***"}
    assert told["message"]["command"] == "***"
    assert told["message"]["user_id"] == "ada"
    assert "hunter" not in str(told)


def test_what_a_sender_wrote_is_shown_harmlessly(site: Site) -> None:
    number = letter(site, HOSTILE, row_id=HOSTILE)
    ops = site.signed_in("ops", "DEVOPS")

    for page in (ops.get("/dead-letters"), ops.get(f"/dead-letters/{number}")):
        assert "<img" not in page.text
        assert "\u202e" not in page.text
        assert "&lt;img" in page.text


def test_a_replay_pressed_twice_sends_it_once(site: Site) -> None:
    number = letter(site)
    ops = site.signed_in("ops", "DEVOPS")
    page = ops.get(f"/dead-letters/{number}")

    pressed = [ops.press(page, "/do/replay_dead_letter", reason="mended") for _ in range(2)]

    assert [answer.status_code for answer in pressed] == [303, 303]
    assert in_queue(site) == 1
    assert answers(site) == [("replayed", "ops")]
    assert "ent again" in said(ops, f"/dead-letters/{number}")
    assert "/do/replay_dead_letter" not in ops.get(f"/dead-letters/{number}").text


def test_what_somebody_else_has_answered_meanwhile_is_told(site: Site) -> None:
    number = letter(site)
    ops, boss = site.signed_in("ops", "DEVOPS"), site.signed_in("boss", "ADMIN")
    page = boss.get(f"/dead-letters/{number}")
    ops.press(ops.get(f"/dead-letters/{number}"), "/do/discard_dead_letter")

    late = boss.press(page, "/do/replay_dead_letter")

    assert late.status_code == 409
    assert "discarded already, by ops" in late.text
    assert in_queue(site) == 0


def test_those_that_are_ticked_are_discarded_and_no_other(site: Site) -> None:
    numbers = [letter(site, f"number {number}") for number in range(3)]
    ops = site.signed_in("ops", "DEVOPS")
    page = ops.get("/dead-letters")
    ticked = {"ids": numbers[:2], "reason": "old"}

    answer = ops.post("/do/discard_dead_letters", ticked)

    assert page.text.count('name="ids"') == 3
    assert answer.status_code == 303
    assert answers(site) == [("discarded", "ops"), ("discarded", "ops"), (None, None)]
    assert said(ops).startswith("2 of 2 were done")


def test_of_many_those_that_cannot_be_replayed_leave_the_others_alone(site: Site) -> None:
    numbers = [letter(site), letter(site, message=Jsonb({"too_large_to_show": 1}))]
    ops = site.signed_in("ops", "DEVOPS")

    ops.post("/do/replay_dead_letters", {"ids": numbers})

    assert answers(site) == [("replayed", "ops"), (None, None)]
    told = said(ops)
    assert told.startswith("1 of 2 were done; 1 were left as they are")
    assert "too large" in told


def test_the_reason_goes_into_the_audit(site: Site) -> None:
    number = letter(site)
    ops = site.signed_in("ops", "DEVOPS")

    ops.press(ops.get(f"/dead-letters/{number}"), "/do/discard_dead_letter", reason="sent twice")

    rows_of_audit = site.api.audited("action", "details", "description")
    assert any(action == "DEAD_LETTER_DISCARDED" and "sent twice" in str(rest) for action, *rest in rows_of_audit)


def test_a_letter_leads_to_what_it_is_about(site: Site) -> None:
    operation = rows.operation(site.api.conn, user_id="ada", disk_name="data")
    reservation = rows.reservation(site.api.conn, user_id="ada", disk_name=None)
    letter(site, queue="disk_operations", row_id=operation)
    letter(site, row_id=reservation)

    page = site.signed_in("ops", "DEVOPS").get("/dead-letters").text

    assert 'href="/disks/data?user_id=ada"' in page
    assert f'href="/reservations/{reservation}"' in page


def test_many_letters_are_turned_page_by_page(site: Site) -> None:
    for number in range(5):
        letter(site, f"the reason {number}")
    ops = site.signed_in("ops", "DEVOPS")

    seen, address = [], "/dead-letters?limit=2&kind=reservation"
    while address:
        page = ops.get(address).text
        seen += re.findall(r"the reason (\d)", page)
        following = re.search(r'href="([^"]*)" rel="next"', page)
        address = following[1].replace("&amp;", "&") if following else ""

    assert seen == ["4", "3", "2", "1", "0"]
