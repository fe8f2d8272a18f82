"""Commands in pods are asked for under the certificates and the token of the other requests."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client

from pgfleet.workers.clients.kubernetes.home import Homes
from pgfleet.workers.runtime.outcomes import TryAgainError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "Bearer geheim"  # noqa: S105  # of a test
NEW_KEY = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost")

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="makes certificates with openssl")


class Refusal(BaseHTTPRequestHandler):
    seen: dict[str, str | None]
    status, body = 403, b""

    def do_GET(self) -> None:
        type(self).seen = {name: self.headers[name] for name in ("authorization", "upgrade", "sec-websocket-protocol")}
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a key, and its certificate that nobody has signed."""
    folder = tmp_path_factory.mktemp("tls")
    files = ("-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem"))
    subprocess.run([*NEW_KEY, "-addext", "subjectAltName=DNS:localhost", *files], check=True, capture_output=True)
    return folder


@pytest.fixture
def configuration(tls: Path) -> Iterator[Any]:
    """Of a server that wants a certificate from whoever asks, and refuses them all."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tls / "certificate.pem"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(tls / "certificate.pem", tls / "key.pem")
    with HTTPServer(("127.0.0.1", 0), Refusal) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        found: Any = client.Configuration(host=f"https://localhost:{server.server_port}")
        found.api_key = {"authorization": TOKEN}
        found.ssl_ca_cert = str(tls / "certificate.pem")
        found.cert_file, found.key_file = str(tls / "certificate.pem"), str(tls / "key.pem")
        yield found
        server.shutdown()


def contents(configuration: Any) -> str:
    with client.ApiClient(configuration) as api_client:
        return Homes(client.CoreV1Api(api_client), "gpu-dev", 60, contents_timeout_s=60).contents("a")


def test_certificates_and_token_are_those_of_the_configuration(configuration: Any) -> None:
    with pytest.raises(TryAgainError, match="Kubernetes answered 403"):
        contents(configuration)

    assert Refusal.seen == {
        "authorization": TOKEN,
        "upgrade": "websocket",
        "sec-websocket-protocol": "v4.channel.k8s.io",
    }


@pytest.mark.parametrize("change", [{"ssl_ca_cert": None}, {"tls_server_name": "elsewhere"}])
def test_a_server_that_is_not_the_one_is_not_asked(configuration: Any, change: dict[str, Any]) -> None:
    for name, value in change.items():
        setattr(configuration, name, value)

    with pytest.raises(TryAgainError, match="SSLCertVerificationError"):
        contents(configuration)


def test_a_server_need_not_be_checked_where_the_kubeconfig_says_so(configuration: Any) -> None:
    configuration.ssl_ca_cert, configuration.verify_ssl = None, False

    with pytest.raises(TryAgainError, match="Kubernetes answered 403"):
        contents(configuration)


SILENT = "error dialing backend: dial tcp 10.0.0.7:10250: i/o timeout"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (500, f'{{"kind": "Status", "message": "{SILENT}"}}', f"Kubernetes answered 500: {SILENT}"),
        (
            400,
            '{"message": "pod a does not have a host assigned"}',
            "answered 400: pod a does not have a host assigned",
        ),
        (502, "<html>\n  bad gateway\n</html>", "answered 502: <html> bad gateway </html>"),
        (503, "", "the pod's command has no answer: Kubernetes answered 503$"),
        (403, "[1]", r"answered 403: \[1\]"),
        (403, f'{{"message": "{"no right " * 300}"}}', r"no right no \.\.\.$"),
    ],
)
def test_a_refusal_is_told_in_the_servers_own_words(
    configuration: Any, monkeypatch: pytest.MonkeyPatch, status: int, body: str, words: str
) -> None:
    monkeypatch.setattr(Refusal, "status", status)
    monkeypatch.setattr(Refusal, "body", body.encode())

    with pytest.raises(TryAgainError, match=words):
        contents(configuration)


@pytest.mark.parametrize(("status", "after_s"), [(404, 5.0), (503, None)])
def test_a_pod_that_is_gone_is_no_failed_attempt(
    configuration: Any, monkeypatch: pytest.MonkeyPatch, status: int, after_s: float | None
) -> None:
    """A cancellation may delete it just when it is asked: the next look sees that it is gone."""
    monkeypatch.setattr(Refusal, "status", status)
    monkeypatch.setattr(Refusal, "body", b'{"message": "pods \\"a\\" not found"}')

    with pytest.raises(TryAgainError, match=f"answered {status}") as told:
        contents(configuration)

    assert told.value.after_s == after_s
