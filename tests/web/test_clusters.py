"""Pages of clusters, over HTTP."""

import pytest

from pgfleet.schema.reads.pictures import figures
from worlds import clusters
from worlds.web.site import Site, fields_of

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


def led(site: Site) -> tuple[str, str, str]:
    """A cluster with a primary and another node that could lead."""
    conn = site.api.conn
    cluster = clusters.create(conn, "serving", p_template="production")
    return cluster, clusters.online(conn, cluster, p_priority=90), clusters.online(conn, cluster, name="second")


def primary(site: Site, cluster: str) -> str:
    return str(clusters.cluster_row(site.api.conn, cluster)["primary_node_id"])


@pytest.mark.parametrize(("role", "status"), [("USER", 403), ("DEVOPS", 200), ("ADMIN", 200)])
def test_operators_see_clusters_and_a_user_sees_none(site: Site, role: str, status: int) -> None:
    cluster, node, _ = led(site)
    browser = site.signed_in("ada", role)

    found = [browser.get(path) for path in ("/clusters", f"/clusters/{cluster}", f"/clusters/{cluster}/nodes/{node}")]

    assert [each.status_code for each in found] == [status] * 3
    assert status == 200 or not any("serving" in each.text for each in found)


def test_where_there_are_none_it_says_what_to_do_first(site: Site) -> None:
    ops = site.signed_in("ops", "DEVOPS")
    cluster = clusters.create(site.api.conn)

    assert "It has none yet. Add one above" in ops.get(f"/clusters/{cluster}").text
    site.api.conn.execute("select clusters.decommission_cluster(%s)", (cluster,))
    assert "There are none yet. Make one above" in ops.get("/clusters").text


def test_the_worst_cluster_comes_first(site: Site) -> None:
    conn = site.api.conn
    for name, health in (("well", "healthy"), ("ill", "critical"), ("middling", "warning")):
        clusters.online(conn, clusters.create(conn, name), health)

    page = site.signed_in("ops", "DEVOPS").get("/clusters").text

    assert page.index(">ill</a>") < page.index(">middling</a>") < page.index(">well</a>")


def test_the_plan_names_who_would_lead_next_and_so_it_comes(site: Site) -> None:
    cluster, first, second = led(site)
    third = clusters.online(site.api.conn, cluster, name="third", p_priority=70)
    ops = site.signed_in("ops", "DEVOPS")

    plan = ops.get(f"/clusters/{cluster}").text.split("<h3>Failover plan")[1]
    clusters.update(site.api.conn, first, "offline")

    assert plan.index("<strong>third</strong>") < plan.index("<strong>second</strong>")
    assert primary(site, cluster) == third
    assert second != third


def test_a_node_is_promoted_after_its_consequence_was_said(site: Site) -> None:
    cluster, _, second = led(site)
    ops = site.signed_in("ops", "DEVOPS")
    place = f"/clusters/{cluster}/nodes/{second}"

    page = ops.get(place)
    done = ops.press(page, "/do/promote_cluster_node", reason="maintenance")

    assert "under epoch" in page.text
    assert done.headers["location"] == f"/clusters/{cluster}"
    assert primary(site, cluster) == second
    assert "/do/promote_cluster_node" not in ops.get(place).text


def test_a_promotion_that_was_shown_under_an_older_epoch_is_refused(site: Site) -> None:
    cluster, first, second = led(site)
    ops = site.signed_in("ops", "DEVOPS")
    shown = ops.get(f"/clusters/{cluster}/nodes/{second}")
    clusters.promote(site.api.conn, second)
    clusters.promote(site.api.conn, first)

    late = ops.press(shown, "/do/promote_cluster_node")

    assert late.status_code == 409
    assert primary(site, cluster) == first


def test_a_promotion_that_is_pressed_twice_is_one(site: Site) -> None:
    cluster, _, second = led(site)
    ops = site.signed_in("ops", "DEVOPS")
    fields = fields_of(ops.get(f"/clusters/{cluster}/nodes/{second}"), "/do/promote_cluster_node")

    answers = [ops.post("/do/promote_cluster_node", fields).status_code for _ in range(2)]

    assert answers == [303, 303]
    assert len(clusters.events(site.api.conn, cluster, "PROMOTED")) == 1


def test_a_cluster_is_made_filled_and_taken_out_of_use_with_its_nodes(site: Site) -> None:
    ops = site.signed_in("ops", "DEVOPS")

    ops.press(ops.get("/clusters"), "/do/create_cluster", name="new one", template="staging")
    row = site.api.conn.execute("select cluster_id, max_nodes from clusters.clusters").fetchone()
    assert row is not None
    place = f"/clusters/{row[0]}"
    added = ops.press(ops.get(place), "/do/add_cluster_node", name="w1", capacity_cpu="8")
    refused = ops.press(ops.get(place), "/do/decommission_cluster")
    done = ops.press(ops.get(place), "/do/decommission_cluster", force="on", reason="over")

    assert row[1] == 5
    assert "Shown this once" in added.text
    assert refused.status_code == 409
    assert done.headers["location"] == "/clusters"
    assert clusters.cluster_row(site.api.conn, row[0])["status"] == "decommissioning"


def test_events_names_and_advice_are_shown_harmlessly(site: Site) -> None:
    conn = site.api.conn
    cluster = clusters.create(conn, HOSTILE, p_region=HOSTILE)
    node = clusters.online(conn, cluster, name=HOSTILE)
    clusters.update(conn, node, "online", None, cpu_usage_percent=99)
    conn.execute(
        "insert into clusters.cluster_events (cluster_id, event_type, message) values (%s, %s, %s)",
        (cluster, HOSTILE, HOSTILE),
    )
    ops = site.signed_in("ops", "DEVOPS")

    for place in ("/clusters", f"/clusters/{cluster}", f"/clusters/{cluster}/nodes/{node}"):
        text = ops.get(place).text
        assert "<script>alert" not in text, place
        assert "<img" not in text, place


def test_the_health_of_a_cluster_is_kept_every_five_minutes_and_drawn(site: Site) -> None:
    cluster, _, _ = led(site)
    conn = site.api.conn

    assert figures.take(conn, "me", 60)
    page = site.signed_in("ops", "DEVOPS").get(f"/clusters/{cluster}").text

    kept = conn.execute("select value from public.figures where figure = 'cluster_score'").fetchall()
    assert kept == [(1.0,)]
    assert "Health score over 24 h" in page
    assert "100 %" in page


def test_what_nodes_measure_is_drawn_on_average(site: Site) -> None:
    cluster, first, second = led(site)
    for node, cpu in ((first, 20), (second, 40)):
        clusters.value(
            site.api.conn,
            "select clusters.record_cluster_metrics(%s, %s, jsonb_build_object('cpu_usage_percent', %s::int))",
            (cluster, node, cpu),
        )

    page = site.signed_in("ops", "DEVOPS").get(f"/clusters/{cluster}").text

    assert "CPU: 30 % to 30 %, now 30 %" in page


def test_nodes_are_filtered_by_their_health_in_the_address(site: Site) -> None:
    cluster, _, second = led(site)
    clusters.update(site.api.conn, second, "offline")

    page = site.signed_in("ops", "DEVOPS").get(f"/clusters/{cluster}?how=offline").text

    listed = page.split('id="part-nodes"')[1].split('id="part-measured"')[0]
    assert f"/nodes/{second}" in listed
    assert "beat healthy" not in listed
