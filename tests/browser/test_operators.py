"""What an operator puts right: a dead letter, a disk, a configuration that a node does not run, who leads a cluster."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from worlds import clusters
from worlds.api.nodes import make_node
from worlds.fleet import PATIENCE_S
from worlds.rows_of_disks import disk, reservation, snapshot
from worlds.web.site import Site, site_on
from worlds.web.window import Window

expect.set_options(timeout=PATIENCE_S * 1000)
BURIED = """
  insert into public.dead_letters (queue, msg_id, row_id, message, reason, enqueued_at)
  values ('gpu_reservations', 1, %(row)s,
    jsonb_build_object('action', 'cancel', 'reservation_id', %(row)s::text, 'user_id', 'ada'), 'gave up', now())
"""
RUNS = """
  update autoscaler.nodes n set config_hash = c.config_hash, status = 'ACTIVE',
    last_heartbeat = now() at time zone 'UTC'
  from autoscaler.node_configurations c where c.node_id = n.id and c.is_active and n.id = %s
"""
Opened = Callable[[str], Window]


@pytest.fixture
def quiet(dsn: str) -> Iterator[Site]:
    """The dashboard, and no worker."""
    with site_on(dsn) as running:
        yield running


def signed_in(opened: Opened, site: Site, role: str = "DEVOPS") -> Window:
    window = opened(site.api.url)
    window.sign_in(site.api.key_of(role.lower(), role))
    return window


def confirm(window: Window, label: str, reason: str) -> None:
    """Open what a button asks, say why, and press it."""
    form = window.page.locator("details", has=window.page.locator(f"summary:text-is('{label} …')"))
    form.locator("summary").click()
    form.get_by_label("Reason").fill(reason)
    form.get_by_role("button", name=label, exact=True).click()


def test_a_dead_letter_is_replayed_and_then_nothing_needs_anybody(quiet: Site, opened: Opened) -> None:
    row = reservation(quiet.api.conn, "pending", disk_name=None)
    quiet.api.conn.execute(BURIED.encode(), {"row": row})
    window = signed_in(opened, quiet)
    page = window.page

    page.get_by_role("link", name="1 dead letter").click()
    page.locator("main td a").first.click()
    expect(page.locator(".trouble")).to_have_text("gave up")
    confirm(window, "Replay", "the bug is mended")

    expect(page.locator("#part-state")).to_contain_text("Replayed by devops")
    window.to("/")
    expect(page.locator("#part-needs")).to_contain_text("Nothing needs you")
    sent = quiet.api.conn.execute("select message ->> 'action' from pgmq.q_gpu_reservations").fetchall()
    assert ("cancel",) in sent
    assert window.complaints == []


def test_a_configuration_that_is_changed_drifts_until_the_node_runs_it(quiet: Site, opened: Opened) -> None:
    with quiet.api.as_user("maker", "DEVOPS") as ops:
        node = make_node(ops, "edge-7")
        ops.post(f"{node.href}/configurations", json={"yaml": "a: 1\n"})
    quiet.api.conn.execute(RUNS, (node.id,))
    window = signed_in(opened, quiet)
    page = window.page
    window.to(f"/nodes/{node.id}/configuration")
    expect(page.locator("main")).not_to_contain_text("It drifts")

    page.locator("summary:text-is('Write a new one …')").click()
    page.get_by_label("YAML").fill("a: 2\n")
    page.locator("form", has=page.get_by_label("YAML")).get_by_label("Reason").fill("more of it")
    page.get_by_role("button", name="Write a new one", exact=True).click()
    expect(page.locator("main")).to_contain_text("It drifts. It should run")
    quiet.api.conn.execute(RUNS, (node.id,))

    expect(page.locator("main")).not_to_contain_text("It drifts. It should run")
    assert ("NODE_CONFIGURATION_CREATED", "more of it") in quiet.api.audited("action", "description")
    assert window.complaints == []


def test_whoever_leads_a_cluster_is_changed_and_the_other_one_is_fenced(quiet: Site, opened: Opened) -> None:
    conn = quiet.api.conn
    cluster = clusters.create(conn, "payments")
    first, second = (clusters.online(conn, cluster, name=name) for name in ("first", "second"))
    clusters.promote(conn, first)
    window = signed_in(opened, quiet)
    window.to(f"/clusters/{cluster}/nodes/{second}")

    confirm(window, "Promote", "the first one is drained")

    expect(window.page.locator("main")).to_contain_text("second is primary")
    row = clusters.cluster_row(conn, cluster)
    assert row["primary_node_id"] == second
    assert window.complaints == []


def test_that_a_disk_is_restored_is_asked_with_the_snapshot_that_was_chosen(quiet: Site, opened: Opened) -> None:
    conn = quiet.api.conn
    disk_id = disk(conn, "home", last_snapshot_at="2026-11-21T12:00:00Z")
    old = snapshot(conn, disk_id, ebs_snapshot_id="snap-1", completed_at="2026-11-20T12:00:00Z")
    snapshot(conn, disk_id, ebs_snapshot_id="snap-2", completed_at="2026-11-21T12:00:00Z")
    window = signed_in(opened, quiet, "ADMIN")
    page = window.page
    window.to("/disks/home?user_id=ada")

    page.locator("summary:text-is('Restore …')").click()
    form = page.locator("details[open] form")
    form.get_by_label("As of").select_option(old)
    form.get_by_role("button", name="Restore", exact=True).click()

    expect(page.locator("#part-operations")).to_contain_text("restore")
    asked = conn.execute(
        "select message ->> 'action', message ->> 'snapshot_id' from pgmq.q_disk_operations"
    ).fetchall()
    assert asked == [("restore_disk", old)]
    assert window.complaints == []
