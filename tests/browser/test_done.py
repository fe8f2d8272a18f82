"""What other workers do for a person, seen to its end: a disk that is restored, a subscription that is tested."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from unittest import mock

import pytest
from playwright.sync_api import expect

from pgfleet.console.sandbox import running_aws
from pgfleet.console.sandbox.aws.handle import BUCKET
from worlds.fleet import PATIENCE_S, worker_process
from worlds.receiver import Receiver
from worlds.rows_of_disks import disk, snapshot
from worlds.web.site import Site, site_on
from worlds.web.window import Window

expect.set_options(timeout=PATIENCE_S * 1000)
Opened = Callable[[str], Window]
OLD, NEW = "snap-00000000000000001", "snap-00000000000000002"


@pytest.fixture
def quiet(dsn: str) -> Iterator[Site]:
    """The dashboard; workers are started by who wants them."""
    with site_on(dsn) as running:
        yield running


def test_a_disk_is_restored_to_its_end(dsn: str, quiet: Site, opened: Opened) -> None:
    conn = quiet.api.conn
    disk_id = disk(conn, "home", last_snapshot_at="2026-11-21T12:00:00Z")
    old = snapshot(conn, disk_id, ebs_snapshot_id=OLD, completed_at="2026-11-20T12:00:00Z")
    snapshot(conn, disk_id, ebs_snapshot_id=NEW, completed_at="2026-11-21T12:00:00Z")
    window = opened(quiet.api.url)
    page = window.page
    with ExitStack() as running:
        aws = running.enter_context(running_aws())
        aws.populate(snapshots=[{"id": each, "size_gb": 100, "tags": {}} for each in (OLD, NEW)])
        running.enter_context(mock.patch.dict(os.environ, aws.environment))
        running.enter_context(worker_process(dsn, None, "pgfleet.workers.disk", contents_bucket=BUCKET))
        window.sign_in(quiet.api.key_of("ada"))
        window.to("/disks/home")

        page.locator("summary:text-is('Restore …')").click()
        form = page.locator("details[open] form")
        form.get_by_label("As of").select_option(old)
        form.get_by_role("button", name="Restore", exact=True).click()
        expect(page.locator("#part-operations .state").first).to_contain_text("completed")

    assert conn.execute("select next_snapshot_id::text from public.disks").fetchall() == [(old,)]
    assert window.complaints == []


def test_a_subscription_is_made_and_tested_and_its_delivery_is_seen(
    dsn: str, quiet: Site, opened: Opened, receiver: Receiver
) -> None:
    window = opened(quiet.api.url)
    page = window.page
    window.sign_in(quiet.api.key_of("ada"))
    window.to("/subscriptions")
    with worker_process(dsn, None, "pgfleet.workers.event", events_may_reach="127.0.0.0/8"):
        page.locator("summary:text-is('Make a subscription …')").click()
        page.get_by_label("Address").fill(receiver.url)
        page.get_by_role("button", name="Make a subscription").click()
        expect(page.locator("h1")).to_have_text("Shown this once")
        secret = page.locator("dd code", has_text="whsec_").text_content() or ""
        page.get_by_role("link", name="Done").click()
        page.locator("main td a").first.click()
        page.get_by_role("button", name="Send a test").click()

        delivery = page.locator("#part-deliveries tbody tr").first
        expect(delivery).to_contain_text("delivered")

    assert receiver.got[0].is_signed_with(secret)
    assert window.complaints == []
