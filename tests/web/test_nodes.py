"""Pages of the autoscaler's nodes, pools and schedules, over HTTP."""

from collections.abc import Iterator

import pytest

from worlds.heartbeats import Heart, heart_in, pool
from worlds.web.site import Browser, Site, fields_of

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
PLACES = ("/nodes", "/nodes/{node}", "/nodes/{node}/configuration", "/pools", "/schedules")


@pytest.fixture
def heart(dsn: str) -> Iterator[Heart]:
    with heart_in(dsn) as heart:
        yield heart


def add_node(ops: Browser, name: str = "rack-7") -> str:
    made = ops.press(ops.get("/nodes"), "/do/create_node", name=name, region="eu")
    assert made.status_code == 200, made.text
    return made.text


def node_of(site: Site, name: str = "rack-7") -> int:
    row = site.api.conn.execute("select id from autoscaler.nodes where name = %s", (name,)).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize(("role", "status"), [("USER", 403), ("DEVOPS", 200), ("ADMIN", 200)])
def test_operators_see_nodes_and_a_user_sees_none(site: Site, heart: Heart, role: str, status: int) -> None:
    node = heart.node("rack-7")
    browser = site.signed_in("ada", role)

    found = [browser.get(place.format(node=node)) for place in PLACES]

    assert [each.status_code for each in found] == [status] * len(PLACES)
    assert status == 200 or not any("rack-7" in each.text for each in found)
    assert ('href="/nodes"' in browser.get("/").text) == (status == 200)


def test_an_empty_fleet_says_what_to_do_first(site: Site) -> None:
    ops = site.signed_in("ops", "DEVOPS")

    assert "There are no nodes yet. Add one above" in ops.get("/nodes").text
    assert "a node names its pools in its heartbeats" in ops.get("/pools").text
    assert "A schedule says how many instances" in ops.get("/schedules").text


def test_a_node_that_was_added_has_its_key_shown_once(site: Site) -> None:
    ops = site.signed_in("ops", "DEVOPS")

    shown = add_node(ops)

    assert "Shown this once" in shown
    node = node_of(site)
    assert "It has not reported in yet" in ops.get(f"/nodes/{node}").text
    assert "key" not in ops.get("/nodes").text.split("<main")[1].split("part-list")[1].lower()


def test_the_button_that_adds_a_node_is_pressed_twice_and_adds_one(site: Site) -> None:
    ops = site.signed_in("ops", "DEVOPS")
    fields = {**fields_of(ops.get("/nodes"), "/do/create_node"), "name": "twice", "region": "eu"}

    ops.post("/do/create_node", fields)
    ops.post("/do/create_node", fields)

    assert site.api.conn.execute("select count(*) from autoscaler.nodes").fetchone() == (1,)


def test_the_map_has_each_region_with_its_nodes_as_they_are_heard(site: Site, heart: Heart) -> None:
    well, ill, gone = heart.node("a", "eu"), heart.node("b", "eu"), heart.node("c", "us")
    heart.hear(well)
    heart.hear(ill, error_message="disk full")
    heart.hear(gone)
    heart.conn.execute("update autoscaler.nodes set status = 'OFFLINE' where id = %s", (gone,))

    page = site.signed_in("ops", "DEVOPS").get("/nodes").text

    assert f'class="beat heard" href="/nodes/{well}"' in page
    assert f'class="beat error" href="/nodes/{ill}"' in page
    assert f'class="beat silent" href="/nodes/{gone}"' in page
    assert "✕ 1 offline" in page
    assert page.index(">us</a>") < page.index(">eu</a>"), "the region that is worst comes first"


def test_ten_thousand_nodes_are_a_page_of_a_bounded_size(site: Site, heart: Heart) -> None:
    heart.conn.execute(
        "insert into autoscaler.nodes (name, region) select 'n' || i, 'r' || i % 20 from generate_series(1, 10000) i"
    )

    page = site.signed_in("ops", "DEVOPS").get("/nodes")

    assert page.status_code == 200
    assert page.text.count('class="beat never"') == 1 + 1200, "the legend's, and the map's"
    assert "and 440 more" in page.text
    assert len(page.content) < 400_000


def test_the_filter_of_the_list_is_in_the_address(site: Site, heart: Heart) -> None:
    for name, region in (("first", "eu"), ("second", "eu"), ("third", "us")):
        heart.node(name, region)
    ops = site.signed_in("ops", "DEVOPS")

    def listed(query: str) -> set[str]:
        text = ops.get(f"/nodes?{query}").text.split('id="part-list"')[1]
        return {name for name in ("first", "second", "third") if f">{name}</a>" in text}

    assert listed("region=eu") == {"first", "second"}
    assert listed("name=IR") == {"first", "third"}
    assert listed("status=ACTIVE") == set()
    assert listed("name=%25") == set(), "no sign means more than itself"


def test_a_node_shows_a_day_of_its_heartbeats_metrics_and_pools(site: Site, heart: Heart) -> None:
    node = heart.node("rack-7")
    heart.hear(node, metrics={"cpu_percent": 42}, pools=[pool("ocid1.pool", current=3)])

    page = site.signed_in("ops", "DEVOPS").get(f"/nodes/{node}").text

    assert "1 heartbeat in 24 h; nothing in 95 quarters of an hour" in page
    assert "cpu <strong>42 %</strong>" in page
    assert "ocid1.pool" in page
    assert "first seen" in page


def test_what_a_node_says_is_shown_harmlessly(site: Site, heart: Heart) -> None:
    node = heart.node(HOSTILE, HOSTILE)
    heart.hear(node, error_message=HOSTILE, metrics={"<b>cpu</b>": 1}, pools=[pool("<i>p</i>", scaling_reason=HOSTILE)])
    heart.conn.execute(
        "insert into autoscaler.schedules (node_id, name, start_time, end_time, target_instances)"
        " values (%s, %s, '01:00', '02:00', 1)",
        (node, HOSTILE),
    )
    ops = site.signed_in("ops", "DEVOPS")

    for place in PLACES:
        text = ops.get(place.format(node=node)).text
        assert "<script>alert" not in text, place
        assert "<img" not in text, place
        assert "<b>cpu" not in text, place
        assert "<i>p<" not in text, place


def test_a_removed_node_is_told_as_such_and_has_no_buttons(site: Site, heart: Heart) -> None:
    node = heart.node("rack-7")
    ops = site.signed_in("ops", "DEVOPS")

    gone = ops.press(ops.get(f"/nodes/{node}"), "/do/remove_node", reason="sold")
    again = ops.get(f"/nodes/{node}").text

    assert gone.headers["location"] == "/nodes"
    assert "rack-7" not in ops.get("/nodes").text.split('id="part-list"')[1]
    assert "rack-7" in ops.get("/nodes?deleted=true").text.split('id="part-list"')[1]
    assert "/do/remove_node" not in again
    assert site.api.audited("action", "description")[-1][0] == "NODE_DELETED"


def test_a_node_that_is_not_there_is_a_page_that_says_so(site: Site) -> None:
    ops = site.signed_in("ops", "DEVOPS")

    assert [ops.get(f"/nodes/{given}").status_code for given in ("7", "0", "x", "99999999999")] == [404] * 4


def test_a_schedule_is_made_switched_off_changed_and_deleted_on_the_nodes_page(site: Site, heart: Heart) -> None:
    place = f"/nodes/{heart.node('rack-7')}"
    ops = site.signed_in("ops", "DEVOPS")
    times = {"name": "nights", "start_time": "20:00", "end_time": "06:00", "target_instances": "2"}

    made = ops.press(ops.get(place), "/do/create_schedule", **times)
    ops.press(ops.get(place), "/do/change_schedule", target_instances="5")
    changed = heart.all("select name, target_instances, is_active from autoscaler.schedules")
    number = str(heart.one("select id from autoscaler.schedules"))
    ops.post("/do/change_schedule", {"path.id": number, "is_active": "off"})
    off = heart.all("select is_active from autoscaler.schedules")
    ops.press(ops.get(place), "/do/remove_schedule")

    assert made.headers["location"] == place
    assert changed == [("nights", 5, True)]
    assert off == [False]
    assert heart.all("select 1 from autoscaler.schedules") == []


def test_a_time_that_is_none_is_refused_with_what_it_should_be(site: Site, heart: Heart) -> None:
    place = f"/nodes/{heart.node('rack-7')}"
    ops = site.signed_in("ops", "DEVOPS")

    refused = ops.press(
        ops.get(place), "/do/create_schedule", name="x", start_time="25:00", end_time="06:00", target_instances="2"
    )

    assert refused.status_code == 400
    assert "must be HH:MM" in refused.text
    assert f'href="{place}"' in refused.text, "and one comes back to where it was asked"


def test_a_pools_limits_are_changed_and_it_is_switched_off(site: Site, heart: Heart) -> None:
    node = heart.node("rack-7")
    heart.hear(node, pools=[pool("ocid1.pool")])
    ops = site.signed_in("ops", "DEVOPS")

    ops.press(ops.get(f"/pools?node={node}"), "/do/change_pool", min_instances="2", max_instances="20")

    row = heart.pool("ocid1.pool")
    assert (row["min_instances"], row["max_instances"]) == (2, 20)
    assert "2 to 20" in ops.get(f"/nodes/{node}").text
