"""Credentials that change under a worker: it goes on with the new ones, and nobody notices."""

from __future__ import annotations

import base64
import json
import stat
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import websocket
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.config import incluster_config
from urllib3.exceptions import HTTPError

from pgfleet.schema.errors import FleetError
from pgfleet.workers.clients.kubernetes import connection
from pgfleet.workers.clients.kubernetes.exec import upgraded
from worlds.fleet import Connection, settings_for, until, worker_process
from worlds.reservations import create, status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pgfleet.console.sandbox.box import Box

NS = "gpu-dev"
EMPTY = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []}
REFUSED = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "Unauthorized", "code": 401}


@dataclass
class Gate:
    """An API server that lets one token in; `came` has what each request brought."""

    url: str = ""
    lets_in: str = "first"
    came: list[str] = field(default_factory=list)
    at_the_door: Callable[[], object] = bool

    def answer(self, authorization: str) -> tuple[int, dict[str, Any]]:
        self.came.append(authorization)
        self.at_the_door()
        return (200, EMPTY) if authorization.lower() == f"bearer {self.lets_in}" else (401, REFUSED)


@pytest.fixture
def gate() -> Iterator[Gate]:
    guarded = Gate()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, document = guarded.answer(self.headers.get("Authorization", ""))
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing is shown."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        guarded.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield guarded
        server.shutdown()
        thread.join()


def write_kubeconfig(path: Path, server: str, user: dict[str, Any], context: str = "here") -> str:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [
            {"name": "here", "cluster": {"server": server}},
            {"name": "there", "cluster": {"server": "http://127.0.0.1:1"}},
        ],
        "users": [{"name": "worker", "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "worker"}} for name in ("here", "there")],
    }
    path.write_text(json.dumps(document))
    return str(path)


@contextmanager
def worker_at(kubeconfig: str | None) -> Iterator[Any]:
    settings = settings_for("postgresql://nobody@localhost/none", kubeconfig=kubeconfig)
    with connection.SignedClient(connection.credentials_of(settings)) as signed:
        yield client.CoreV1Api(signed)


def look(api: Any) -> list[Any]:
    return list(api.list_namespaced_pod(NS, _request_timeout=60).items)


def exec_plugin(folder: Path) -> dict[str, Any]:
    """A user whose token a program gives: what the file `given` holds; each run is a line of `runs`."""
    program = folder / "plugin"
    program.write_text(f"#!/bin/sh\necho run >> {folder}/runs\ncat {folder}/given\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(program), "args": []}}


def give(folder: Path, token: str, **status: str) -> None:
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": token, **status},
    }
    (folder / "given").write_text(json.dumps(credential))


def test_no_reservation_notices_that_the_token_of_its_worker_is_replaced(
    dsn: str, conn: Connection, box: Box, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("old")
    box.rule("tokens", known=["old"])
    kubeconfig: Any = write_kubeconfig(tmp_path / "config", box.url, {"tokenFile": "token"})
    with worker_process(dsn, box, kubeconfig=kubeconfig, pod_poll_s=0.1):
        before = create(conn)
        until(lambda: status_of(conn, before) == "active", within_s=30)
        box.rule("tokens", known=["old", "new"])
        (tmp_path / "token").write_text("new")
        box.rule("tokens", known=["new"])
        after = [create(conn) for _ in range(3)]

        until(lambda: {status_of(conn, row_id) for row_id in after} == {"active"}, within_s=30)

    assert conn.execute("select count(*) from public.reservations where failure_reason is not null").fetchone() == (0,)


def test_a_token_file_that_is_replaced_is_read_before_the_next_request(gate: Gate, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first")
    with worker_at(write_kubeconfig(tmp_path / "config", gate.url, {"tokenFile": "token"})) as api:
        look(api)
        (tmp_path / "token").write_text("second")
        gate.lets_in = "second"

        look(api)

    assert gate.came == ["Bearer first", "Bearer second"]


def test_a_request_that_is_refused_while_the_token_changes_is_made_once_more(gate: Gate, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first")
    gate.lets_in = "second"
    gate.at_the_door = lambda: (tmp_path / "token").write_text("second")
    with worker_at(write_kubeconfig(tmp_path / "config", gate.url, {"tokenFile": str(tmp_path / "token")})) as api:
        look(api)

    assert gate.came == ["Bearer first", "Bearer second"]


def test_a_token_that_stays_wrong_is_refused_after_one_request(gate: Gate, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("wrong")
    with (
        worker_at(write_kubeconfig(tmp_path / "config", gate.url, {"tokenFile": "token"})) as api,
        pytest.raises(ApiException) as refused,
    ):
        look(api)

    assert refused.value.status == 401
    assert gate.came == ["Bearer wrong"]
    assert "wrong" not in str(refused.value)


def test_a_token_inline_is_read_again_from_a_kubeconfig_that_was_written_anew(gate: Gate, tmp_path: Path) -> None:
    kubeconfig = write_kubeconfig(tmp_path / "config", gate.url, {"token": "first"})
    with worker_at(kubeconfig) as api:
        look(api)
        write_kubeconfig(tmp_path / "config", gate.url, {"token": "second"})
        gate.lets_in = "second"

        look(api)

    assert gate.came == ["Bearer first", "Bearer second"]


def test_the_token_of_a_service_account_follows_the_link_that_the_kubelet_swaps(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, token in (("..2026_1", "first"), ("..2026_2", "second")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(token + "\n")
        (tmp_path / name / "ca.crt").write_text("a certificate")
    (tmp_path / "..data").symlink_to("..2026_1")
    host, port = gate.url.removeprefix("http://").split(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "..data" / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "..data" / "ca.crt"))
    monkeypatch.setattr(connection, "IN_CLUSTER", without_tls(connection.IN_CLUSTER, gate.url))
    with worker_at(None) as api:
        look(api)
        (tmp_path / "..new").symlink_to("..2026_2")
        (tmp_path / "..new").rename(tmp_path / "..data")
        gate.lets_in = "second"

        look(api)

    assert gate.came == ["bearer first", "bearer second"]


def without_tls(source: connection.Source, url: str) -> connection.Source:
    """The same source for a server that speaks plain HTTP, which none in a cluster does."""

    def read() -> Any:
        configuration = source.read()
        configuration.host = url
        return configuration

    return connection.Source(read, source.files)


def test_a_newline_at_the_end_of_a_token_file_is_no_part_of_the_token(gate: Gate, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n")
    with worker_at(write_kubeconfig(tmp_path / "config", gate.url, {"tokenFile": "token"})) as api:
        look(api)

    assert gate.came == ["Bearer first"]


def test_a_program_is_run_again_when_its_token_is_refused(gate: Gate, tmp_path: Path) -> None:
    user = exec_plugin(tmp_path)
    give(tmp_path, "first")
    with worker_at(write_kubeconfig(tmp_path / "config", gate.url, user)) as api:
        look(api)
        give(tmp_path, "second")
        gate.lets_in = "second"

        look(api)

    assert gate.came == ["Bearer first", "Bearer first", "Bearer second"]


def test_a_program_is_run_again_before_its_token_is_refused_when_it_has_run_out(gate: Gate, tmp_path: Path) -> None:
    user = exec_plugin(tmp_path)
    give(tmp_path, "first", expirationTimestamp="2020-01-01T00:00:00Z")
    with worker_at(write_kubeconfig(tmp_path / "config", gate.url, user)) as api:
        give(tmp_path, "second")
        gate.lets_in = "second"

        look(api)

    assert gate.came == ["Bearer second"]


def test_a_program_is_not_run_for_every_request_that_is_refused(gate: Gate, tmp_path: Path) -> None:
    user = exec_plugin(tmp_path)
    give(tmp_path, "wrong")
    with worker_at(write_kubeconfig(tmp_path / "config", gate.url, user)) as api:
        for _ in range(5):
            with pytest.raises(ApiException):
                look(api)

    assert (tmp_path / "runs").read_text().count("run") == 2


def test_a_program_that_fails_leaves_the_credentials_as_they_were(gate: Gate, tmp_path: Path) -> None:
    user = exec_plugin(tmp_path)
    give(tmp_path, "first")
    with worker_at(write_kubeconfig(tmp_path / "config", gate.url, user)) as api:
        gate.lets_in = "other"
        (tmp_path / "given").write_text("no JSON")
        with pytest.raises(ApiException):
            look(api)
        gate.lets_in = "first"

        look(api)

    assert gate.came == ["Bearer first", "Bearer first"]


def test_another_context_in_the_kubeconfig_does_not_lead_to_another_cluster(gate: Gate, tmp_path: Path) -> None:
    kubeconfig = write_kubeconfig(tmp_path / "config", gate.url, {"token": "first"})
    with worker_at(kubeconfig) as api:
        write_kubeconfig(tmp_path / "config", gate.url, {"token": "second"}, context="there")
        gate.lets_in = "second"

        look(api)

    assert gate.came == ["Bearer second"]


def test_another_server_in_the_kubeconfig_is_not_gone_to(gate: Gate, tmp_path: Path) -> None:
    kubeconfig = write_kubeconfig(tmp_path / "config", gate.url, {"token": "first"})
    with worker_at(kubeconfig) as api:
        look(api)
        write_kubeconfig(tmp_path / "config", "http://127.0.0.1:1", {"token": "second"})

        look(api)

    assert gate.came == ["Bearer first", "Bearer first"]


def test_a_wrong_address_at_the_start_is_mended_in_the_kubeconfig(gate: Gate, tmp_path: Path) -> None:
    kubeconfig = write_kubeconfig(tmp_path / "config", "http://127.0.0.1:1", {"token": "first"})
    with worker_at(kubeconfig) as api:
        with pytest.raises(HTTPError):
            look(api)
        write_kubeconfig(tmp_path / "config", gate.url, {"token": "first"})

        look(api)

    assert gate.came == ["Bearer first"]


def test_it_is_mended_where_nobody_signs_in_either(box: Box, tmp_path: Path) -> None:
    kubeconfig = write_kubeconfig(tmp_path / "config", "http://127.0.0.1:1", {})
    with worker_at(kubeconfig) as api:
        write_kubeconfig(tmp_path / "config", box.url, {})

        assert look(api) == []


@pytest.mark.parametrize("half", ["", "users: [", "[]", "users: 3"])
def test_a_kubeconfig_that_is_half_written_changes_nothing(gate: Gate, tmp_path: Path, half: str) -> None:
    kubeconfig = write_kubeconfig(tmp_path / "config", gate.url, {"token": "first"})
    with worker_at(kubeconfig) as api:
        (tmp_path / "config").write_text(half)
        look(api)
        write_kubeconfig(tmp_path / "config", gate.url, {"token": "second"})
        gate.lets_in = "second"

        look(api)

    assert gate.came == ["Bearer first", "Bearer second"]


def test_a_certificate_that_is_written_anew_is_used_by_new_connections(gate: Gate, tmp_path: Path) -> None:
    (tmp_path / "cert").write_text("one")
    (tmp_path / "key").write_text("one")
    user = {"token": "first", "client-certificate": "cert", "client-key": "key"}
    with worker_at(write_kubeconfig(tmp_path / "config", gate.url, user)) as api:
        look(api)
        before = api.api_client.rest_client
        look(api)
        kept = api.api_client.rest_client
        (tmp_path / "cert").write_text("another")

        look(api)

    assert kept is before
    assert api.api_client.rest_client is not before


def test_a_command_in_a_pod_is_asked_for_once_more_with_the_new_token(gate: Gate, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first")
    gate.lets_in = "second"
    gate.at_the_door = lambda: (tmp_path / "token").write_text("second")
    kubeconfig = write_kubeconfig(tmp_path / "config", gate.url, {"tokenFile": "token"})
    asked: Any = {"command": ["ls"], "_preload_content": False, "_request_timeout": 60}

    # The gate lets the second request in, and answers 200 where a websocket is made with 101.
    with worker_at(kubeconfig) as api, pytest.raises(websocket.WebSocketBadStatusException) as refused:
        upgraded(api).connect_get_namespaced_pod_exec("pod", NS, **asked)

    assert refused.value.status_code == 200
    assert gate.came == ["Bearer first", "Bearer second"]


BAD_CERTIFICATE = """
current-context: c
contexts: [{name: c, context: {cluster: k}}]
clusters: [{name: k, cluster: {server: "https://k", certificate-authority-data: "hunter2!"}}]
"""


@pytest.mark.parametrize(
    "broken", ["users: [{name: worker, user: {token: hunter2\n", "- token: hunter2", "hunter2", BAD_CERTIFICATE]
)
def test_a_kubeconfig_that_cant_be_used_is_told_without_what_is_in_it(tmp_path: Path, broken: str) -> None:
    (tmp_path / "config").write_text(broken)

    with pytest.raises(FleetError) as refused, worker_at(str(tmp_path / "config")):
        pass

    assert "PGFLEET_KUBECONFIG" in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_secret_is_in_no_error_of_a_refused_request(gate: Gate, tmp_path: Path) -> None:
    secret = base64.b64encode(b"a secret of the test").decode().rstrip("=")
    kubeconfig = write_kubeconfig(tmp_path / "config", gate.url, {"token": secret})

    with worker_at(kubeconfig) as api, pytest.raises(ApiException) as refused:
        look(api)

    assert secret not in str(refused.value)
    assert secret not in repr(refused.value)
