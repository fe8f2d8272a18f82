"""Commands in pods: a websocket on which Kubernetes sends what the command writes, and how it ended.

`kubernetes.stream` opens the same websocket, but waits without an end for a server that doesn't answer, and replaces
a method of the client that it is given.
"""

import json
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import websocket
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.stream.ws_client import (
    ERROR_CHANNEL,
    STDIN_CHANNEL,
    STDOUT_CHANNEL,
    V4_CHANNEL_PROTOCOL,
    get_websocket_url,
    websocket_proxycare,
)

from pgfleet.workers.clients.kubernetes.answers import SOON_S
from pgfleet.workers.clients.kubernetes.connection import UNAUTHORIZED, SignedClient
from pgfleet.workers.clients.kubernetes.names import CONTAINER
from pgfleet.workers.clients.kubernetes.status.containers import words
from pgfleet.workers.runtime.outcomes import TryAgainError

DATA = (websocket.ABNF.OPCODE_BINARY, websocket.ABNF.OPCODE_TEXT)


@dataclass(frozen=True, slots=True)
class Bounds:
    """All that a command may take: from the connection to its end, and of its output."""

    seconds: float
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands in the pods of one namespace; `timeout_s` is for each step of a connection."""

    api: client.CoreV1Api
    namespace: str
    timeout_s: float
    exec_api: client.CoreV1Api = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "exec_api", upgraded(self.api))

    def run(self, pod: str, command: Sequence[str], bounds: Bounds, typed: bytes = b"") -> bytes:
        """What a command wrote, as `output` says; or programs of the pod's user, which may write as well.

        Raises:
            TryAgainError: the pod can't be asked now.
        """
        return output(
            lambda timeout_s: self.exec_api.connect_get_namespaced_pod_exec(  # type: ignore[arg-type, return-value]
                pod,
                self.namespace,
                command=list(command),
                container=CONTAINER,
                stdin=bool(typed),
                stdout=True,
                stderr=False,
                tty=False,
                _preload_content=False,
                _request_timeout=min(timeout_s, self.timeout_s),
            ),
            bounds,
            typed,
        )


def upgraded(api: client.CoreV1Api) -> client.CoreV1Api:
    """A client of the same server for commands in pods; nothing of it is shared with the other one's requests."""
    return client.CoreV1Api(_Upgraded.beside(api.api_client))


class _Upgraded(SignedClient):
    """Opens a websocket where another client would send a request; the caller closes it."""

    def call_api(
        self,
        method: Any,  # noqa: ARG002  # as it is there
        url: Any,
        header_params: Any = None,
        body: Any = None,  # noqa: ARG002  # same
        post_params: Any = None,  # noqa: ARG002  # same
        _request_timeout: Any = None,
    ) -> Any:
        """The generated methods return the socket, if they are called with `_preload_content=False`."""
        version = self.credentials.version
        try:
            socket = self._socket(url, header_params, _request_timeout)
        except websocket.WebSocketBadStatusException as error:
            if error.status_code != UNAUTHORIZED or not self.credentials.renewed(version):
                raise
            socket = self._socket(url, header_params, _request_timeout)
        return SimpleNamespace(response=socket, status=200)

    def _socket(self, url: str, headers: dict[str, str] | None, timeout_s: float) -> websocket.WebSocket:
        return _opened(self.configuration, url, self.signed(headers), timeout_s)


def output(opened: Callable[[float], websocket.WebSocket], bounds: Bounds, typed: bytes = b"") -> bytes:
    """What a command wrote to stdout; cut where it is longer than the bounds allow.

    `opened` makes the connection, within the seconds it is given. `typed` is what the command reads from stdin: unlike
    its arguments, no API server writes that down.

    Raises:
        TryAgainError: the command couldn't be started, didn't end in time, or failed without any output. Where the pod
            is gone, whoever asked looks again soon, and that is no failed attempt.
    """
    deadline = time.monotonic() + bounds.seconds
    try:
        socket = opened(bounds.seconds)
        try:
            if typed:
                socket.send_binary(bytes((STDIN_CHANNEL,)) + typed)
            return _read(socket, deadline, bounds.size_bytes)
        finally:
            socket.shutdown()  # type: ignore[no-untyped-call]  # not `close`, which waits for the other side
    except (ApiException, websocket.WebSocketException, OSError) as error:
        is_gone = isinstance(error, websocket.WebSocketBadStatusException) and error.status_code == HTTPStatus.NOT_FOUND
        after_s = SOON_S if is_gone else None
        raise TryAgainError(f"the pod's command has no answer: {_words(error)}", after_s=after_s) from error


def _read(socket: websocket.WebSocket, deadline: float, size_bytes: int) -> bytes:
    """A frame is a byte that names its channel, and what was written to it."""
    written = bytearray()
    while len(written) < size_bytes:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TryAgainError("the pod's command took too long")
        socket.settimeout(left_s)
        opcode, frame = socket.recv_data_frame(control_frame=True)
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            raise TryAgainError("the pod's command was cut off")
        if opcode not in DATA or not frame.data:
            continue
        if frame.data[0] == ERROR_CHANNEL:
            _check(frame.data[1:], written)
            return bytes(written)
        if frame.data[0] == STDOUT_CHANNEL:
            written += frame.data[1:]
    return bytes(written[:size_bytes])


def _check(status: bytes, written: bytearray) -> None:
    """A command that has written something counts as done, even if it failed."""
    result = _object(status)
    if result.get("status") != "Success" and not written:
        raise TryAgainError(f"the pod's command failed: {words(str(result.get('message', '')))}")


def _words(error: Exception) -> str:
    """The server's own words, where it has said any."""
    if isinstance(error, websocket.WebSocketBadStatusException):
        return ": ".join([f"Kubernetes answered {error.status_code}", *_said(error.resp_body)])
    if isinstance(error, (OSError, websocket.WebSocketException)) and str(error):
        return f"{type(error).__name__}: {words(str(error))}"
    return type(error).__name__


def _said(body: bytes | None) -> list[str]:
    """The message of a `Status`; of any other body its text."""
    text = (body or b"").decode("utf-8", "replace")
    message = words(str(_object(text).get("message") or "")) or words(text)
    return [message] if message else []


def _object(text: str | bytes) -> dict[str, Any]:
    """Empty for whatever is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _opened(configuration: Any, url: str, headers: dict[str, str], timeout_s: float) -> websocket.WebSocket:
    """The connection that `kubernetes.stream` would make, with a timeout."""
    options: dict[str, Any] = {
        "header": [f"{name}: {value}" for name, value in headers.items() if name.lower() == "authorization"],
        "subprotocols": [V4_CHANNEL_PROTOCOL],
        "redirect_limit": 0,
    }
    if configuration.proxy or configuration.proxy_headers:
        care: Any = websocket_proxycare
        options = care(options, configuration, url, headers) | {"http_proxy_timeout": timeout_s}
    address: Any = get_websocket_url
    return websocket.create_connection(
        address(url), timeout=timeout_s, sslopt=_tls(configuration), skip_utf8_validation=True, **options
    )


def _tls(configuration: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"cert_reqs": ssl.CERT_NONE}
    if configuration.verify_ssl:
        options = {"cert_reqs": ssl.CERT_REQUIRED, "ca_certs": configuration.ssl_ca_cert}
        if configuration.assert_hostname is not None:
            options["check_hostname"] = configuration.assert_hostname
    given = {
        "certfile": configuration.cert_file,
        "keyfile": configuration.key_file,
        "server_hostname": configuration.tls_server_name,
    }
    return options | {name: value for name, value in given.items() if value}
