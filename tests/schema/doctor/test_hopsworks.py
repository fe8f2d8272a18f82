"""`pgfleet doctor` on Hopsworks: clusters that do not answer, accounts that are wrong, forgotten assignments."""

import pytest

from pgfleet.schema.doctor.examination import examine
from pgfleet.schema.doctor.findings import LIMITS, Check, Finding, Severity
from pgfleet.schema.doctor.forgotten import TICKETS, tickets
from pgfleet.schema.doctor.hopsworks import HOPSWORKS
from pgfleet.schema.doctor.hopsworks import hopsworks as look
from worlds.database import Connection
from worlds.fleet import send
from worlds.outside.hopsworks import (
    HARMLESS,
    HOSTILE,
    KEY,
    QUEUE,
    assigned,
    change,
    fail_check,
    hopsworks,
    open_breaker,
    person,
)
from worlds.trouble.outages import held, out

ADA = "auth0|ada"


def found(conn: Connection) -> list[Finding]:
    checks = [Check(HOPSWORKS, "well", look), Check(TICKETS, "well", tickets)]
    return [finding for finding in examine(conn, LIMITS, checks) if finding.severity is not Severity.OK]


def test_clusters_that_answer_are_no_finding(conn: Connection) -> None:
    hopsworks(conn, "eu-1")

    assert found(conn) == []


@pytest.mark.parametrize("name", ["eu-1", "with space", HOSTILE, "-x"])
def test_a_refused_key_is_an_error_whose_remedy_names_the_cluster(conn: Connection, name: str) -> None:
    cluster = hopsworks(conn, name)
    open_breaker(conn, cluster, "api_key", "the look-up was answered 401")

    (finding,) = found(conn)

    typed = {"eu-1": "eu-1", "with space": "'with space'"}.get(name, cluster)
    assert (finding.severity, finding.remedy) == (Severity.ERROR, f"pgfleet hopsworks rekey {typed}")
    assert "(api_key): the look-up was answered 401" in finding.text
    assert (HARMLESS in finding.text) == (name == HOSTILE)
    assert "\x1b" not in finding.text
    assert KEY not in finding.text


def test_a_cluster_that_does_not_answer_is_a_warning(conn: Connection) -> None:
    open_breaker(conn, hopsworks(conn, "eu-1"))

    (finding,) = found(conn)

    assert finding.severity is Severity.WARNING
    assert "pgfleet hopsworks show eu-1" in (finding.remedy or "")


def test_after_a_minute_it_is_an_error_that_says_how_many_messages_wait(conn: Connection) -> None:
    cluster = hopsworks(conn, "eu-1")
    out(conn, f"hopsworks:{cluster}", "read", "CLUSTER_UNREACHABLE", "no answer", since_s=90, queue=QUEUE)
    held(conn, f"hopsworks:{cluster}", 3, QUEUE)

    (finding,) = found(conn)

    assert finding.severity is Severity.ERROR
    assert finding.text == "eu-1 is left alone for 90 s (unreachable): no answer; messages that wait: 3"


def test_a_cluster_that_nobody_tries_again_names_the_worker(conn: Connection) -> None:
    open_breaker(conn, hopsworks(conn, "eu-1"))
    conn.execute("update public.outages set retry_at = retry_at - interval '100 seconds'")

    (finding,) = found(conn)

    assert "nobody looks whether it answers again" in finding.text
    assert finding.remedy == "pgfleet worker assignment"


def test_accounts_that_are_wrong_are_one_warning_with_the_first_of_them(conn: Connection) -> None:
    cluster = hopsworks(conn, "eu-1")
    for number in range(7):
        user = person(conn, f"auth0|{number}", f"u{number}@example.org")
        fail_check(conn, cluster, "account", user)
    fail_check(conn, cluster, "metrics")
    conn.execute(
        "update hopsworks.health_check_failures set resolved_at = now() where user_id = 'auth0|6'",
    )

    (finding,) = found(conn)

    assert finding.severity is Severity.WARNING
    assert finding.text.startswith("6 accounts are not as they should be: u0@example.org, u1@example.org")
    assert finding.text.endswith("u4@example.org and 1 more")


@pytest.mark.parametrize(("age_s", "severity"), [(60, Severity.WARNING), (180, Severity.ERROR)])
@pytest.mark.parametrize("status", ["pending", "creating_user"])
def test_a_live_assignment_without_a_message_is_told_by_how_long_it_is_so(
    conn: Connection, status: str, age_s: float, severity: Severity
) -> None:
    waiting(conn, status, age_s)

    (finding,) = found(conn)

    assert (finding.severity, finding.text) == (severity, f"1 live assignments without a message: {ADA}")
    assert finding.remedy == "a running assignment worker repairs it within a minute: pgfleet worker assignment"


def waiting(conn: Connection, status: str, age_s: float) -> None:
    person(conn, ADA)
    assigned(conn, ADA, status, hopsworks(conn, "eu-1") if status == "creating_user" else None)
    change(conn, ADA, ticket=2)
    conn.execute(
        "update hopsworks.user_hopsworks_assignments set status_since = now() - make_interval(secs => %s)", (age_s,)
    )


@pytest.mark.parametrize(
    ("body", "well"),
    [
        ({"action": "advance", "user_id": ADA, "ticket": 2}, True),
        ({"action": "advance", "user_id": ADA, "ticket": 1}, False),
        ({"action": "advance", "user_id": "auth0|bob", "ticket": 2}, False),
        ({"action": "assign", "user_id": ADA}, False),
    ],
)
def test_only_the_ticket_of_the_row_is_its_message(conn: Connection, body: dict[str, object], *, well: bool) -> None:
    waiting(conn, "pending", 60)
    send(conn, QUEUE, body)

    assert (found(conn) == []) == well


@pytest.mark.parametrize("status", ["active", "released", "failed"])
def test_what_is_young_or_not_live_needs_no_message(conn: Connection, status: str) -> None:
    waiting(conn, "pending", 5)
    person(conn, "auth0|bob")
    assigned(conn, "auth0|bob", status, hopsworks(conn, "us-1"))
    change(conn, "auth0|bob", status_since="2020-01-01")

    assert found(conn) == []
