"""The fleet's page, and what is around each page, over HTTP."""

import re

from worlds.web.site import Site

HELD = """
  insert into public.figures (at, figure, about, state, value)
  select date_bin('5 minutes', public.fleet_now(), 'epoch') - n * interval '5 minutes', 'gpus', 'h100', s.state, s.value
  from generate_series(0, 11) n, (values ('total', 8), ('held', 6)) s (state, value)
"""
DEAD = """
  insert into public.dead_letters (queue, msg_id, message, reason, enqueued_at, verdict)
  values ('disk_operations', 1, '{}', 'gave up', now(), 'failure')
"""


def test_how_many_gpus_were_held_is_drawn_over_a_day(site: Site) -> None:
    before = site.signed_in("ada").get("/").text
    site.api.conn.execute(HELD.encode())

    page = site.signed_in("ada").get("/").text

    assert "last 24 hours" not in before
    assert "h100: 75 % held on average, now" in page
    assert re.search(r"UTC: 6 GPUs</title>", page)


def test_a_queue_with_one_sort_of_dead_letters_tells_of_that_one_alone(site: Site) -> None:
    site.api.conn.execute(DEAD.encode())

    page = site.signed_in("ops", "DEVOPS").get("/queues").text

    assert "1 failed</span></a>" in page


def test_a_page_that_another_one_leads_to_is_found_in_the_menu_under_it(site: Site) -> None:
    ops = site.signed_in("ops", "DEVOPS")

    current = {
        path: re.findall(r'<a href="([^"]*)" aria-current="page"', ops.get(path).text)
        for path in ("/pools", "/schedules", "/quarantine", "/new-disk", "/disks")
    }

    nodes, disks = ["/nodes"], ["/disks"]
    assert current == {
        "/pools": nodes,
        "/schedules": nodes,
        "/quarantine": disks,
        "/new-disk": disks,
        "/disks": disks,
    }
