"""Use is measured through a cluster's kubeconfig, of which nothing is run, opened, shown or left behind."""

import base64
import json
import shutil
import ssl
import subprocess
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from kubernetes.config import kube_config

from pgfleet.console.sandbox import Box
from pgfleet.workers.clients.kubernetes import usage
from pgfleet.workers.clients.kubernetes.kubeconfig import read_kubeconfig
from pgfleet.workers.clients.kubernetes.usage import USERNAME, Usage, Use
from pgfleet.workers.runtime.outcomes import NeverError, TryAgainError
from worlds.network.hostile import MIB, bomb, drips, endless, hostile_server
from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import Api, until

box, v1 = sandbox_cluster.box, sandbox_cluster.v1

SECRET = "geheim"  # noqa: S105  # what must not be shown
METER = Usage(2.0)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go; it is as empty after a test as it was before."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert list(tmp_path.iterdir()) == []
    assert kube_config._temp_files == {}  # noqa: SLF001  # the official client's own


def run(v1: Api, name: str, username: str | None, cpu: str = "0", gpus: int = 0, namespace: str = "gpu-dev") -> None:
    """A pod that runs."""
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    body = {
        "metadata": {
            "name": name,
            "labels": {USERNAME: username} if username else {},
            "annotations": {"sandbox/cpu": cpu},
        },
        "spec": {
            "nodeSelector": {"GpuType": "h100"} if gpus else {},
            "containers": [{"name": "main", "image": "busybox", "resources": {"limits": limits}}],
        },
    }
    v1.create_namespaced_pod(namespace, body)
    until(lambda: v1.read_namespaced_pod(name, namespace).status.phase, lambda phase: phase == "Running")


def text_of(box: Box) -> str:
    return Path(box.kubeconfig).read_text(encoding="utf-8")


def kubeconfig(server: str = "https://127.0.0.1:9", user: Any = None, **cluster: Any) -> str:
    return json.dumps(
        {
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
            "users": [{"name": "u", "user": {"token": SECRET} if user is None else user}],
        }
    )


def inline(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# --- measuring


def test_the_pods_of_all_namespaces_are_summed_by_user(box: Box, v1: Api) -> None:
    run(v1, "a", "ada10000", "250m", 2)
    run(v1, "b", "ada10000", "1.5", namespace="default")
    run(v1, "c", "bob10000", gpus=8)
    run(v1, "d", None, "4", 1)

    assert METER.measure(text_of(box)) == {"ada10000": Use(1.75, 2), "bob10000": Use(0, 8)}


@pytest.mark.parametrize(
    ("quantity", "cpu_cores"),
    [("250m", 0.25), ("123456789n", 0.123456789), ("12u", 0.000012), ("1.5", 1.5), ("2k", 2000.0), ("1e1", 10.0)],
)
def test_quantities_are_read_exactly(box: Box, v1: Api, quantity: str, cpu_cores: float) -> None:
    run(v1, "a", "ada10000", quantity)

    assert METER.measure(text_of(box)) == {"ada10000": Use(cpu_cores, 0)}


@pytest.mark.parametrize("quantity", ["", "many", "NaN", "Infinity", "-1", "1e30", "1e999999999"])
def test_what_is_no_quantity_is_no_use(box: Box, v1: Api, quantity: str) -> None:
    run(v1, "a", "ada10000", quantity)

    with pytest.raises(NeverError, match="something that is no metrics of its pods"):
        METER.measure(text_of(box))


def test_pods_that_wait_use_nothing(box: Box, v1: Api) -> None:
    run(v1, "a", "ada10000", gpus=8)
    body = sandbox_cluster.pod("b", 1)
    body["spec"]["containers"][0]["image"] = "registry/missing:1"
    body["metadata"]["labels"] = {USERNAME: "bob10000"}
    v1.create_namespaced_pod("gpu-dev", body)

    assert METER.measure(text_of(box)) == {"ada10000": Use(0, 8)}


def test_a_long_list_is_read_page_by_page(box: Box, v1: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "PAGE", 1)
    for name in ("a", "b", "c"):
        run(v1, name, "ada10000", gpus=1)
    assert METER.measure(text_of(box)) == {"ada10000": Use(0, 3)}

    monkeypatch.setattr(usage, "MOST_PAGES", 2)
    with pytest.raises(NeverError, match="goes on after 2 pages"):
        METER.measure(text_of(box))


def test_a_cluster_that_nobody_uses_has_no_users(box: Box) -> None:
    assert METER.measure(text_of(box)) == {}


# --- a server that does not answer, or not with what was asked


def test_a_server_that_is_not_there_may_be_there_later(folder: Path) -> None:
    with pytest.raises(TryAgainError, match="did not answer for the metrics of its pods: NewConnectionError"):
        METER.measure(kubeconfig("http://127.0.0.1:9"))


@pytest.mark.parametrize(
    ("path", "what"), [("/apis/metrics", "metrics of its pods"), ("/api/v1/pods", "list of its pods")]
)
@pytest.mark.parametrize(
    ("status", "error"), [(403, NeverError), (404, NeverError), (500, TryAgainError), (429, TryAgainError)]
)
def test_a_refusal_is_told_without_the_servers_words(
    box: Box, path: str, what: str, status: int, error: type[Exception]
) -> None:
    box.fault(path, status=status, reason=SECRET, times=5)

    with pytest.raises(error, match=f"Kubernetes answered {status} .* to the question for the {what}$") as told:
        METER.measure(text_of(box))
    assert SECRET not in shown(told.value)


def shown(error: BaseException) -> str:
    return repr(error) + "".join(traceback.format_exception(error))


class Answers(BaseHTTPRequestHandler):
    def __init__(self, answer: bytes, *given: Any) -> None:
        self.answer = answer
        super().__init__(*given)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Starts a server that answers everything alike; its address."""
    servers = []

    def start(answer: bytes, tls: ssl.SSLContext | None = None) -> str:
        server = HTTPServer(("127.0.0.1", 0), partial(Answers, answer))
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"{'https' if tls else 'http'}://localhost:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "answer",
    [b"", b"<html>geheim", b"[]", b"{}", b'{"items": 3}', b'{"items": ["geheim"]}', b'{"items": [{"metadata": {}}]}'],
)
def test_an_answer_that_makes_no_sense_is_not_repeated(serve: Callable[..., str], answer: bytes) -> None:
    with pytest.raises(NeverError, match="something that is no metrics of its pods") as told:
        METER.measure(kubeconfig(serve(answer)))
    assert SECRET not in shown(told.value)


@pytest.mark.skipif(not shutil.which("openssl"), reason="makes certificates with openssl")
def test_certificates_are_used_and_leave_no_file(
    serve: Callable[..., str], folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = tmp_path_factory.mktemp("tls")
    key, certificate = made / "key.pem", made / "certificate.pem"
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    new = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject)
    subprocess.run([*new, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate))
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_cert_chain(certificate, key)
    server = serve(b'{"items": [], "metadata": {}}', tls)
    ours = inline(certificate.read_text())
    user = {"client-certificate-data": ours, "client-key-data": inline(key.read_text())}

    assert METER.measure(kubeconfig(server, user, **{"certificate-authority-data": ours})) == {}
    with pytest.raises(NeverError, match="its certificate, or ours, is not accepted"):
        METER.measure(kubeconfig(server, user))
    with pytest.raises(NeverError, match="its certificate, or ours, is not accepted"):
        METER.measure(kubeconfig(server, {"client-certificate-data": inline(SECRET)}))


# --- kubeconfigs


BAD = {
    "no YAML$": "{",
    "no YAML mapping": SECRET,
    "names no current context": "{}",
    "current context is not in it": "current-context: geheim",
    "context's cluster is not in it": kubeconfig().replace('"name": "c"', '"name": "geheim"'),
    "context's user is not in it": kubeconfig().replace('"name": "u"', '"name": "geheim"'),
    "names no context's user": kubeconfig().replace(', "user": "u"', ""),
    "user has exec, which runs a program": kubeconfig(user={"exec": {"command": SECRET}}),
    "user has auth-provider, which": kubeconfig(user={"auth-provider": {"name": SECRET}}),
    "user has tokenFile, which names a file": kubeconfig(user={"tokenFile": SECRET}),
    "user has client-certificate, which names": kubeconfig(user={"client-certificate": SECRET}),
    "user has client-key, which names": kubeconfig(user={"client-key": SECRET}),
    "user has username, which": kubeconfig(user={"username": SECRET, "password": SECRET}),
    "cluster has certificate-authority, which": kubeconfig(**{"certificate-authority": SECRET}),
    "has no server": kubeconfig(""),
    "server is no plain http": kubeconfig("file://geheim"),
    "server is no plain": kubeconfig("https://geheim@host"),
    "server is no": kubeconfig("https://geheim:99999"),
    "proxy-url is no plain http": kubeconfig(**{"proxy-url": "socks5://geheim"}),
    "says insecure-skip-tls-verify": kubeconfig("HTTPS://geheim", **{"insecure-skip-tls-verify": True}),
    "token has characters": kubeconfig(user={"token": "geheim\ngeheim"}),
    "client-key-data is no base64": kubeconfig(user={"client-key-data": "geheim"}),
    "client-certificate-data is no base64": kubeconfig(user={"client-certificate-data": "geheimä"}),
    "certificate-authority-data is no PEM": kubeconfig(**{"certificate-authority-data": inline("geheimä")}),
}


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_kubeconfig_is_refused_with_a_reason_that_shows_nothing_of_it(reason: str) -> None:
    with pytest.raises(NeverError, match=reason) as told:
        METER.measure(BAD[reason])

    assert SECRET not in shown(told.value)


@pytest.mark.parametrize("text", ["a: [", "\0", "'", "[" * 5000, "a: !!python/object:os.system x", "&a [*a]"])
def test_what_is_no_kubeconfig_at_all_is_refused(text: str) -> None:
    with pytest.raises(NeverError, match="the kubeconfig"):
        METER.measure(text)


def test_a_plain_server_may_say_that_it_is_insecure(serve: Callable[..., str]) -> None:
    text = kubeconfig(serve(b'{"items": []}'), **{"insecure-skip-tls-verify": True})

    assert METER.measure(text) == {}


def test_a_kubeconfig_that_was_read_does_not_show_its_secrets() -> None:
    place = read_kubeconfig(kubeconfig("https://geheim", {"token": "0007", "client-key-data": inline(SECRET)}))

    assert (place.token, place.key) == ("0007", SECRET.encode())
    assert repr(place) == "Place()"


# Servers that mean harm.

PIECE = b'{"metadata": {"labels": {"hopsworks.ai/username": "ada"}}, "containers": []},'
CHUNK = f"{len(PIECE):x}\r\n".encode() + PIECE + b"\r\n"
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BEGIN = b'{"items": ['


@pytest.mark.parametrize(
    "answer",
    [
        endless(JSON + b"\r\n" + BEGIN, PIECE * 1000),
        endless(JSON + b"Transfer-Encoding: chunked\r\n\r\nb\r\n" + BEGIN + b"\r\n", CHUNK * 1000),
        drips(JSON + b"\r\n" + BEGIN + PIECE * 100),
    ],
    ids=["without an end", "in pieces without an end", "a byte now and then"],
)
def test_an_answer_without_an_end_ends(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "ANSWER_BYTES", MIB)
    with hostile_server() as hostile:
        hostile.answer = answer

        with pytest.raises(TryAgainError, match=r"TooMuchError|ReadTimeoutError"):
            Usage(0.3).measure(kubeconfig(hostile.url))


def test_what_bursts_when_it_is_unpacked_is_left_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "ANSWER_BYTES", MIB)
    with hostile_server() as hostile:
        hostile.says(bomb(64), "Content-Type: application/json", "Content-Encoding: gzip")

        with pytest.raises(TryAgainError, match="TooMuchError"):
            METER.measure(kubeconfig(hostile.url))


def test_a_redirect_takes_the_token_nowhere() -> None:
    with hostile_server() as hostile, hostile_server() as elsewhere:
        elsewhere.says(b'{"items": []}', "Content-Type: application/json")
        hostile.says(b"", f"Location: {elsewhere.url}/", status="307 Temporary Redirect")

        with pytest.raises((TryAgainError, NeverError)):
            METER.measure(kubeconfig(hostile.url, user={"token": SECRET}))

        assert elsewhere.asked == []
