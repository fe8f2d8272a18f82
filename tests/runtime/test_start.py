"""A worker process at its start: what it refuses, and what it shows."""

import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import dramatiq
import pytest

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.errors import FleetError
from pgfleet.workers.reservation.machine import KIND
from pgfleet.workers.runtime import serve
from pgfleet.workers.runtime.broker import FleetBroker
from pgfleet.workers.runtime.inside.opening import opened
from pgfleet.workers.runtime.serve import Lifecycle
from worlds.fleet import (
    PATIENCE_S,
    REPOSITORY,
    Connection,
    Worker,
    move_clock,
    row_of,
    settings_for,
    until,
    worker_environment,
    worker_process,
)
from worlds.network.ports import free_port
from worlds.reservations import active, ask, create, status_of
from worlds.small.kind import small_kind

DRAMATIQ = [sys.executable, "-m", "dramatiq", "pgfleet.workers.reservation", "-p", "1", "-t", "1"]


def started(dsn: str, box: Box | None, **settings: Any) -> subprocess.CompletedProcess[str]:
    environment = worker_environment(dsn, box, **settings)
    return subprocess.run(
        DRAMATIQ, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def test_a_worker_lists_all_that_its_database_lacks_and_stops(empty_dsn: str, box: Box) -> None:
    ended = started(empty_dsn, box)

    assert ended.returncode == 2
    for missing in ("table public.reservations", "function public.fleet_now", "queue gpu_reservations"):
        assert missing in ended.stderr
    assert "Run `pgfleet migrate`" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_one_missing_column_is_named(dsn: str, conn: Connection, box: Box) -> None:
    conn.execute("alter table public.reservations drop column oom_count")

    ended = started(dsn, box)

    assert ended.returncode == 2
    assert "column public.reservations.oom_count" in ended.stderr


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("lease_s", "soon", "PGFLEET_LEASE_S"),
        ("effect_threads", "0", "PGFLEET_EFFECT_THREADS"),
        ("kubeconfig", "/nowhere", "Set PGFLEET_KUBECONFIG"),
    ],
)
def test_a_setting_that_cant_be_used_is_named(dsn: str, box: Box, setting: str, value: str, said: str) -> None:
    ended = started(dsn, box, **{setting: value})

    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_database_that_cant_be_reached_is_told_without_its_password(box: Box) -> None:
    ended = started("postgresql://ada:hunter2@127.0.0.1:1/nowhere", box)

    assert ended.returncode == 2
    assert "Can't reach PostgreSQL" in ended.stderr
    assert "hunter2" not in ended.stderr


@pytest.fixture
def port() -> int:
    return free_port(in_a_row=2)


def shown(port: int, path: str) -> tuple[int, str]:
    """The status and text of an answer of the metrics port; 0 as long as nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def not_ready_for(port: int, reason: str) -> str:
    """What `/readyz` says, once it names the reason."""

    def look() -> str | None:
        status, text = shown(port, "/readyz")
        return text if status == 503 and reason in text else None

    return str(until(look, within_s=20, what=f"not ready for {reason!r}"))


def test_a_worker_whose_rights_are_missing_says_all_of_them_and_takes_nothing_until_they_are_granted(
    dsn: str, conn: Connection, box: Box, port: int
) -> None:
    box.rule("rights", missing=["watch pods", "create pods/exec", "list nodes"])
    row_id = create(conn)
    with worker_process(dsn, box, metrics_port=port, pod_poll_s=0.1):
        said = not_ready_for(port, "watch pods")
        metrics, alive = shown(port, "/metrics")[1], shown(port, "/livez")
        waits = (status_of(conn, row_id), conn.execute("select max(read_ct) from pgmq.q_gpu_reservations").fetchone())
        box.rule("rights", missing=[])
        until(lambda: status_of(conn, row_id) == "active", within_s=20)
        ready = shown(port, "/readyz")
        ready_metrics = shown(port, "/metrics")[1]

    assert "the right to create pods/exec in namespace gpu-dev" in said
    assert "kubectl auth can-i create pods --subresource=exec --namespace=gpu-dev" in said
    assert "the right to list nodes (kubectl auth can-i list nodes)" in said
    assert "deploy/chart" in said
    assert waits == (None, (0,))
    assert 'pgfleet_ready{queue="gpu_reservations"} 0.0' in metrics
    assert alive == (200, "ok\n")
    assert ready == (200, "ok\n")
    assert 'pgfleet_ready{queue="gpu_reservations"} 1.0' in ready_metrics


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"path": "selfsubjectaccessreviews", "status": 401}, "Kubernetes answered 401"),
        ({"path": "selfsubjectaccessreviews", "drop": True}, "an answer of Kubernetes at http"),
    ],
)
def test_a_worker_whose_outside_is_away_at_its_start_waits_and_goes_on_when_it_is_back(
    dsn: str, conn: Connection, box: Box, port: int, fault: dict[str, Any], said: str
) -> None:
    box.fault(times=10_000, **fault)
    row_id = create(conn)
    with worker_process(dsn, box, metrics_port=port, pod_poll_s=0.1) as process:
        not_ready_for(port, said)
        waits, ended = status_of(conn, row_id), process.poll()
        box.clear_faults()
        until(lambda: status_of(conn, row_id) == "active", within_s=20)

    assert (waits, ended) == (None, None)


@pytest.mark.parametrize("way", [{"status": 502}, {"drop": True}, {"status": 200, "text": "<html>Sign in</html>"}])
def test_a_worker_that_starts_while_the_server_of_ssh_keys_is_away_does_all_that_needs_none(
    dsn: str, conn: Connection, worker: Worker, box: Box, port: int, way: dict[str, Any]
) -> None:
    cancelled, expiring = active(conn, worker, duration_hours=8), active(conn, worker)
    box.fault("^/ssh-keys/", times=10_000, **way)
    move_clock(conn, 4 * 3600 + 180)
    waiting = create(conn)
    ask(conn, "cancel", cancelled)
    with worker_process(dsn, box, metrics_port=port, pod_poll_s=0.1):
        until(lambda: status_of(conn, cancelled) == "cancelled", within_s=20)
        until(lambda: row_of(conn, cancelled)["reservation_ended"], within_s=20)
        until(lambda: row_of(conn, expiring)["reservation_ended"], within_s=20)
        code = "SSH_KEYS_UNREACHABLE: "
        until(lambda: str(row_of(conn, waiting)["current_detailed_status"]).startswith(code), within_s=20)
        ready = shown(port, "/readyz")
        box.clear_faults()
        move_clock(conn, 61)
        until(lambda: status_of(conn, waiting) == "active", within_s=20)

    assert ready[0] == 200
    assert ready[1].startswith("ok\nwarning: gpu_reservations: SSH_KEYS_UNREACHABLE: ")


def test_a_worker_that_starts_while_aws_is_away_takes_messages_and_tells_of_the_outage(
    dsn: str, conn: Connection, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with worker_process(dsn, None, "pgfleet.workers.disk", metrics_port=port):
        until(lambda: "AWS_UNREACHABLE" in shown(port, "/readyz")[1])
        ready, said = until(lambda: (found := shown(port, "/readyz"))[0] == 200 and found)
    out = conn.execute("select dependency, calls from public.outages where ended_at is null").fetchall()

    assert said.startswith("ok\nwarning: disk_operations: AWS_UNREACHABLE: ")
    assert ready == 200
    assert out == [("aws.ec2", "read")]


def test_a_worker_that_is_not_ready_ends_when_it_is_asked_to(dsn: str, box: Box, port: int) -> None:
    box.rule("rights", missing=["watch pods"])
    with worker_process(dsn, box, metrics_port=port) as process:
        not_ready_for(port, "watch pods")
        process.terminate()

        assert process.wait(PATIENCE_S) == 0


def test_metrics_tell_what_was_claimed_and_settled(dsn: str, conn: Connection, box: Box, port: int) -> None:
    with worker_process(dsn, box, metrics_port=port, pod_poll_s=0.1, fleet="eu-1"):
        row_id = create(conn)
        until(lambda: status_of(conn, row_id) == "active", within_s=20)
        text = shown(port, "/metrics")[1]

    assert 'pgfleet_claimed_total{queue="gpu_reservations"}' in text
    assert 'pgfleet_settled_total{outcome="advance",queue="gpu_reservations"}' in text
    assert 'pgfleet_settle_seconds_count{queue="gpu_reservations"}' in text
    assert re.search(r'pgfleet_build_info\{fleet="eu-1",version="[^"]+"\} 1\.0', text)


@contextmanager
def taken(port: int) -> Iterator[None]:
    with socket.create_server(("", port)):
        yield


def test_a_port_that_is_taken_ends_the_worker_with_what_to_do(dsn: str, box: Box, port: int) -> None:
    with taken(port):
        ended = started(dsn, box, metrics_port=port)

    assert ended.returncode == 2
    assert f"The port {port} for metrics at 127.0.0.1 can't be had" in ended.stderr
    assert "PGFLEET_METRICS_PORT" in ended.stderr
    assert "Traceback" not in ended.stderr


def answer_of(port: int) -> int:
    return shown(port, "/livez")[0]


def test_each_process_of_a_worker_has_a_port_of_its_own(dsn: str, box: Box, port: int) -> None:
    command = [*DRAMATIQ[:4], "-p", "2", "-t", "1"]
    environment = worker_environment(dsn, box, metrics_port=port)
    with subprocess.Popen(command, env=environment, cwd=REPOSITORY, start_new_session=True) as process:
        try:
            answers = [until(partial(answer_of, at), within_s=30) for at in (port, port + 1)]
        finally:
            process.terminate()
            process.wait(PATIENCE_S)

    assert answers == [200, 200]


NO_AUTHORITY = """
current-context: here
contexts: [{name: here, context: {cluster: here, user: me}}]
clusters: [{name: here, cluster: {server: "https://127.0.0.1:1", certificate-authority: /nowhere/ca.crt}}]
users: [{name: me, user: {}}]
"""


def test_an_outside_that_cant_be_opened_ends_the_worker_in_a_sentence(
    dsn: str, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")

    ended = started(dsn, box)

    assert ended.returncode == 2
    assert "worker.refused" in ended.stderr
    assert "No module named 'socks" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "QueueNotFound" not in ended.stderr


@pytest.mark.parametrize("text", ["a: [b", "- a list", NO_AUTHORITY])
def test_a_kubeconfig_that_cant_be_used_is_refused_at_the_start(dsn: str, tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    settings = settings_for(dsn, kubeconfig=str(tmp_path / "config"))

    with pytest.raises(FleetError, match="PGFLEET_KUBECONFIG"), opened(KIND, settings, None):
        pass


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PGFLEET_SSH_KEYS_PROXY", "gopher://ada:hunter2@127.0.0.1:1", "must be the http(s) address of a proxy"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "No such file"),
    ],
)
def test_an_environment_that_no_client_can_be_made_in_is_told_at_the_start(
    dsn: str, box: Box, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(FleetError, match=re.escape(said)) as told, opened(KIND, settings_for(dsn, box), None):
        pass

    assert "hunter2" not in str(told.value)


def test_whatever_goes_wrong_while_it_boots_ends_the_process(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", dsn)
    # The logs of this process are those of all its other tests.
    monkeypatch.setattr(serve, "set_up_logs", bool)

    def fail(*_: Any) -> Any:
        raise ZeroDivisionError

    lifecycle = Lifecycle()
    lifecycle.kinds["small_jobs"] = replace(small_kind(), tools=fail)
    broker = FleetBroker(middleware=[lifecycle])
    with pytest.raises(SystemExit) as ended:
        broker.emit_before("worker_boot", dramatiq.Worker(broker))
    lifecycle.open.close()

    assert ended.value.code == 2


def test_a_worker_that_waits_for_something_while_it_boots_ends_when_it_is_asked_to(box: Box) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"postgresql://ada@127.0.0.1:{silent.getsockname()[1]}/fleet"
        command = [*DRAMATIQ, "--worker-fork-timeout", "200"]
        with subprocess.Popen(command, env=worker_environment(dsn, box), cwd=REPOSITORY) as process:
            waiting, _ = silent.accept()
            with waiting:
                process.terminate()

                assert process.wait(PATIENCE_S) == 0
