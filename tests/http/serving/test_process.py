"""`pgfleet serve` as a process: how it begins, what its probes say, how it ends."""

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from pgfleet.schema.identity import accounts, keys
from worlds.api.login import serving_dsn
from worlds.api.process import Process, free_port, get, serving_process, started
from worlds.database import Connection
from worlds.fleet import PATIENCE_S, until
from worlds.strangers import stranger_dsn

ASKED = {"gpu_type": "h100", "gpu_count": 1, "duration_hours": 2}
CUT = """
  select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and application_name like 'pgfleet serve%%'
"""


@pytest.fixture
def serve(dsn: str, tmp_path: Path) -> Iterator[Process]:
    with serving_dsn(dsn) as own, serving_process(own, tmp_path, drain_s=60) as process:
        yield process


@pytest.fixture
def ops(serve: Process, conn: Connection) -> Iterator[httpx.Client]:
    accounts.add(conn, "ops@example.org", username="ops", role="DEVOPS")
    headers = {"Authorization": f"Bearer {keys.make(conn, 'ops', hours=2).key}"}
    with httpx.Client(base_url=serve.url, headers=headers, timeout=PATIENCE_S, trust_env=False) as client:
        yield client


def test_whoever_asks_is_told_that_it_lives_and_is_ready_at_both_ports(serve: Process, conn: Connection) -> None:
    """Without a proof, and without a row in the audit."""
    for url in (serve.url, serve.metrics_url):
        assert (get(f"{url}/livez").status_code, get(f"{url}/readyz").text) == (200, "ok\n")

    assert conn.execute("select count(*) from autoscaler.audit_logs").fetchone() == (0,)


def test_a_database_that_lets_nobody_in_is_told_and_one_that_does_again_is_found(serve: Process, dsn: str) -> None:
    """Why is told at the port of operators only: it names hosts and logins."""
    name = dsn.rpartition("/")[2].partition("?")[0]
    with psycopg.connect(dsn.replace(f"/{name}", "/postgres", 1), autocommit=True) as admin:
        admin.execute(f'alter database "{name}" allow_connections false'.encode())
        admin.execute(CUT, (name,))
        until(lambda: serve.ready().status_code == 503)

        assert serve.ready().text == "the database does not answer\n"
        assert get(f"{serve.url}/livez").status_code == 200
        assert name in get(f"{serve.metrics_url}/readyz").text

        admin.execute(f'alter database "{name}" allow_connections true'.encode())
    until(lambda: serve.ready().status_code == 200)
    assert [line for line in serve.log.read_text().splitlines() if '"http.ready"' in line]


def test_requests_are_counted_by_endpoint_and_strangers_by_reason(serve: Process, ops: httpx.Client) -> None:
    """An address that is nothing is counted with all others: no label is chosen by who asks."""
    ops.get("/v1/me")
    get(f"{serve.url}/v1/me")
    get(f"{serve.url}/nothing-here")

    assert serve.counted("pgfleet_http_requests_total", endpoint="get_me", status="2xx") == 1
    assert serve.counted("pgfleet_http_requests_total", endpoint="get_me", status="4xx") == 1
    assert serve.counted("pgfleet_http_requests_total", endpoint="other", status="4xx") == 1
    assert serve.counted("pgfleet_http_request_seconds_count", endpoint="get_me") == 2
    assert serve.counted("pgfleet_http_strangers_refused_total", reason="not_proven") == 1
    assert "nothing-here" not in get(f"{serve.metrics_url}/metrics").text


def test_of_several_processes_one_shows_what_is_counted_of_the_whole_fleet(
    serve: Process, dsn: str, conn: Connection, tmp_path: Path
) -> None:
    """And when that has ended, another."""
    (folder := tmp_path / "second").mkdir()
    conn.execute("select pgmq.send('gpu_reservations', '{}'::jsonb, 3600)")
    conn.execute("delete from public.figures_lease")
    with serving_dsn(dsn) as own, serving_process(own, folder) as second:
        until(lambda: second.counted("pgfleet_gpus", gpu_type="h100", state="total") == 16)

        assert second.counted("pgfleet_queue_messages", queue="gpu_reservations", state="delayed") == 1
        until(lambda: serve.counted("pgfleet_gpus") == 0)
        second.running.terminate()
        second.ended()
    conn.execute("update public.figures_lease set until = public.fleet_now()")
    until(lambda: serve.counted("pgfleet_gpus", gpu_type="h100", state="total") == 16)


def test_its_metrics_say_which_fleet_it_is_by_the_database(dsn: str, conn: Connection, tmp_path: Path) -> None:
    conn.execute("insert into public.fleet_name (name) values ('eu-1')")
    with serving_dsn(dsn) as own, serving_process(own, tmp_path) as running:
        assert running.counted("pgfleet_build_info", fleet="eu-1") == 1


def test_at_sigterm_it_is_not_ready_first_and_a_stream_ends_to_be_taken_up_elsewhere(
    serve: Process, ops: httpx.Client
) -> None:
    """It ends with 0, long before the drain time is over."""
    with ops.stream("GET", "/v1/events") as stream:
        lines = stream.iter_lines()
        next(lines)
        until(lambda: serve.counted("pgfleet_http_streams") == 1)

        serve.running.send_signal(signal.SIGTERM)
        until(lambda: serve.ready().status_code == 503)

        assert serve.ready().text == "this process ends\n"
        assert get(f"{serve.url}/livez").status_code == 200
        assert ops.get("/v1/events").status_code == 503
        rest = "\n".join(lines)
    assert "event: end" in rest
    assert '"stopping"' in rest
    assert "id: " in rest
    assert serve.ended() == 0


def test_a_request_that_is_open_at_sigterm_is_answered(serve: Process, ops: httpx.Client, conn: Connection) -> None:
    """One whose row somebody holds, until after the port is closed."""
    answers: list[httpx.Response] = []
    with conn.transaction():
        conn.execute("lock table autoscaler.audit_logs")
        asking = threading.Thread(target=lambda: answers.append(ops.post("/v1/reservations", json=ASKED)), daemon=True)
        asking.start()
        until(lambda: serve.counted("pgfleet_http_sessions_in_use") >= 1 and _waits(conn))
        serve.running.send_signal(signal.SIGTERM)
        until(lambda: serve.ready().status_code == 503)
    asking.join(PATIENCE_S)

    assert [answer.status_code for answer in answers] == [202]
    assert serve.ended() == 0


def _waits(conn: Connection) -> bool:
    found = conn.execute("select from pg_locks where not granted and relation = 'autoscaler.audit_logs'::regclass")
    return found.fetchone() is not None


def test_the_second_ctrl_c_ends_it_at_once(serve: Process, ops: httpx.Client, conn: Connection) -> None:
    """Though a request is open, whose end would be waited for."""
    with conn.transaction():
        conn.execute("lock table autoscaler.audit_logs")
        threading.Thread(target=_let_go, args=(ops,), daemon=True).start()
        until(lambda: _waits(conn))
        serve.running.send_signal(signal.SIGINT)
        until(lambda: serve.ready().status_code == 503)

        serve.running.send_signal(signal.SIGINT)

        assert serve.ended() == 130


def _let_go(ops: httpx.Client) -> None:
    with pytest.raises(httpx.HTTPError):
        ops.post("/v1/reservations", json=ASKED)


def test_a_port_that_is_taken_is_one_sentence_and_the_next_step(dsn: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, serving_dsn(dsn) as own:
        port = taken.getsockname()[1]

        said = _refused(own, tmp_path, "--port", str(port))

    assert f"The port {port} at 127.0.0.1 can't be had" in said
    assert "Give another one with --port." in said


def test_a_metrics_port_that_is_taken_is_told_too(dsn: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, serving_dsn(dsn) as own:
        said = _refused(own, tmp_path, "--port", "0", metrics_port=taken.getsockname()[1])

    assert "Give another one with PGFLEET_METRICS_PORT" in said


def test_a_database_without_a_schema_is_told_what_to_run(empty_dsn: str, tmp_path: Path) -> None:
    assert "Run `pgfleet migrate`, then start again." in _refused(empty_dsn, tmp_path, "--port", "0")


def test_a_login_that_may_not_serve_is_told_the_grant(dsn: str, tmp_path: Path) -> None:
    """One of a service that sends for its users is none, either."""
    with stranger_dsn(dsn, role="pgfleet_api", queues=()) as own:
        said = _refused(own, tmp_path, "--port", "0")
        login = own.partition("://")[2].partition(":")[0]

    assert f'As the owner of the database run:\n  grant pgfleet_serve to "{login}";' in said


def test_the_owner_may_serve(dsn: str, tmp_path: Path) -> None:
    with serving_process(dsn, tmp_path) as process:
        assert process.ready().text == "ok\n"


def _refused(dsn: str, folder: Path, *arguments: str, **settings: int) -> str:
    """What it says where it ends with 2, without a traceback."""
    log = folder / "serve.log"
    running = started(dsn, log, *arguments, **{"metrics_port": free_port(), **settings})

    assert running.wait(PATIENCE_S) == 2, log.read_text()
    said = log.read_text()
    assert "Traceback" not in said
    return said
