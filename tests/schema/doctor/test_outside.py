"""`pgfleet doctor` on what is outside: what does not answer, and rows that a quota or a rule keeps waiting."""

import pytest

from pgfleet.schema.doctor.examination import examine
from pgfleet.schema.doctor.findings import LIMITS, Check, Finding, Severity
from pgfleet.schema.doctor.outside import OUTAGES, PLACES, outages, places
from worlds.database import Connection
from worlds.fleet import new_id
from worlds.outside.hopsworks import HOSTILE, assigned, hopsworks, open_breaker, person
from worlds.trouble.outages import held, out

QUOTA = "QUOTA: Kubernetes answered 403 Forbidden: exceeded quota: gpus"


def found(conn: Connection) -> list[Finding]:
    checks = [Check(OUTAGES, "well", outages), Check(PLACES, "well", places)]
    return [finding for finding in examine(conn, LIMITS, checks) if finding.severity is not Severity.OK]


def waiting(conn: Connection, row_id: str, shown: str, minutes: float, status: str = "pending") -> None:
    conn.execute(
        "insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours,"
        " created_at, current_detailed_status)"
        " values (%s, 'ada', 'pending', 'h100', 2, 4, public.fleet_now() - make_interval(mins => %s), %s)",
        (row_id, minutes, shown),
    )
    conn.execute("update public.reservations set status = %s where reservation_id = %s", (status, row_id))


def test_an_outage_of_more_than_a_minute_is_an_error_that_says_what_waits(conn: Connection) -> None:
    out(conn, "kubernetes", "make", "KUBERNETES_UNREACHABLE", "Kubernetes answered 500", since_s=180)
    held(conn, "kubernetes", 14)

    (finding,) = found(conn)

    assert finding.severity is Severity.ERROR
    assert finding.text.startswith("kubernetes make is out since ")
    assert "(180 s): KUBERNETES_UNREACHABLE: Kubernetes answered 500; messages that wait: 14" in finding.text
    assert "from where the worker runs" in (finding.remedy or "")


def test_an_outage_that_has_just_begun_is_a_warning(conn: Connection) -> None:
    out(conn, "ssh_keys", "read", "SSH_KEYS_UNREACHABLE", "no answer", since_s=5)

    (finding,) = found(conn)

    assert (finding.severity, finding.text.partition(" since")[0]) == (Severity.WARNING, "ssh_keys is out")


def test_a_missing_right_is_the_operators_to_give(conn: Connection) -> None:
    reason = "the operator has to let this worker make pods"
    out(conn, "kubernetes", "make", "KUBERNETES_UNREACHABLE", reason, since_s=90)

    (finding,) = found(conn)

    assert "let this worker make pods" in finding.text
    assert (finding.remedy or "").startswith("give the worker the right that the reason names")


def test_an_outage_that_nobody_looks_at_names_the_worker(conn: Connection) -> None:
    out(conn, "aws.ec2", "read", "AWS_UNREACHABLE", "no answer", since_s=600, retry_in_s=-100, queue="disk_operations")

    (finding,) = found(conn)

    assert finding.remedy == "nobody asks whether it answers again: pgfleet worker disk"


def test_what_has_ended_and_what_the_check_of_hopsworks_tells_is_no_finding(conn: Connection) -> None:
    out(conn, "kubernetes", "read", "KUBERNETES_UNREACHABLE", "away", since_s=600)
    conn.execute("update public.outages set ended_at = public.fleet_now()")
    open_breaker(conn, hopsworks(conn, "eu-1"))

    assert found(conn) == []


def test_rows_that_a_quota_keeps_waiting_are_one_warning_a_reason(conn: Connection) -> None:
    for number in range(7):
        waiting(conn, f"r{number}", QUOTA, 11, "queued" if number == 0 else "pending")
    waiting(conn, "recent", QUOTA, 9)
    waiting(conn, "other", "NO_CAPACITY: no free GPUs", 100)
    waiting(conn, "refused", "KUBERNETES_REFUSES: a policy", 100)

    refused, quota = found(conn)

    assert {refused.severity, quota.severity} == {Severity.WARNING}
    assert refused.text == "1 wait for more than 10 min: KUBERNETES_REFUSES: a policy (reservation refused)"
    assert quota.text.startswith(f"7 wait for more than 10 min: {QUOTA} (reservation r0, ")
    assert quota.text.endswith("and 2 more)")
    assert "raise the quota" in (quota.remedy or "")


def test_who_waits_for_a_missing_right_is_not_told_twice(conn: Connection) -> None:
    waiting(conn, "r1", "KUBERNETES_UNREACHABLE: the operator has to let this worker make what it needs", 11)
    out(conn, "kubernetes", "make", "KUBERNETES_UNREACHABLE", "the operator has to let this worker", since_s=700)

    assert [finding.check for finding in found(conn)] == [OUTAGES]


def test_rows_that_are_not_answered_while_others_are_are_told(conn: Connection) -> None:
    waiting(conn, new_id(), "SSH_KEYS_UNREACHABLE: the server of SSH keys answered 503", 20)

    (finding,) = found(conn)

    assert finding.text.startswith("1 wait for more than 10 min: SSH_KEYS_UNREACHABLE: the server of SSH keys answered")
    assert (finding.remedy or "").startswith("see why these are not answered, where others are")


def test_pods_that_no_scheduler_looks_at_are_told(conn: Connection) -> None:
    waiting(conn, new_id(), "NO_SCHEDULER: no scheduler has looked at it (default-scheduler): 12 min so far", 20)

    (finding,) = found(conn)

    assert "NO_SCHEDULER: no scheduler has looked at it" in finding.text
    assert (finding.remedy or "").startswith("see whether the cluster's scheduler runs")


def test_rows_of_an_outage_that_has_just_ended_are_not_told(conn: Connection) -> None:
    out(conn, "kubernetes", "read", "KUBERNETES_UNREACHABLE", "Kubernetes answered 503", since_s=3000)
    waiting(conn, new_id(), "KUBERNETES_UNREACHABLE: Kubernetes answered 503", 20)
    conn.execute("update public.outages set ended_at = public.fleet_now()")

    assert found(conn) == []


def test_credentials_that_are_not_let_in_are_no_missing_right(conn: Connection) -> None:
    reason = "the operator has to renew this worker's credentials: Kubernetes answered 401"
    out(conn, "kubernetes", "read", "KUBERNETES_UNREACHABLE", reason, since_s=9)

    (finding,) = found(conn)

    assert (finding.remedy or "").startswith("give the worker credentials that are let in")


@pytest.mark.parametrize("cluster_is_out", [False, True])
def test_a_user_whose_account_a_key_may_not_create_is_told_where_the_cluster_is_not(
    conn: Connection, *, cluster_is_out: bool
) -> None:
    cluster, ada = hopsworks(conn, "eu-1"), person(conn, "auth0|ada")
    assigned(conn, ada, "creating_user", cluster, detail="CLUSTER_KEY_REFUSED: Hopsworks eu-1: answered 403")
    conn.execute(
        "update hopsworks.user_hopsworks_assignments set status_since = public.fleet_now() - interval '11 minutes'"
    )
    if cluster_is_out:
        open_breaker(conn, cluster, "api_key")

    assert [finding.check for finding in found(conn)] == ([] if cluster_is_out else [PLACES])


def test_what_others_have_written_is_told_harmlessly(conn: Connection) -> None:
    out(conn, "kubernetes", "read", "KUBERNETES_UNREACHABLE", HOSTILE, since_s=600)
    waiting(conn, "r1", f"QUOTA: {HOSTILE}", 11)

    for finding in found(conn):
        assert finding.text.isprintable()
