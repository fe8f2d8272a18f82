"""An issuer of tokens whose keys, documents and pace a test chooses, and which signs whatever it is given."""

import json
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "fleet"
# The moment at which tokens are made and read: no test depends on when it runs.
NOW = 1_800_000_000
PRIVATE = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """A key for each name, made once: it takes a while."""
    assert name
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key(curve: type[ec.EllipticCurve]) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve())


def published(key: PRIVATE, **more: Any) -> dict[str, Any]:
    """A key as a set of keys has it."""
    public = key.public_key()
    made = RSAAlgorithm.to_jwk(public) if isinstance(public, rsa.RSAPublicKey) else ECAlgorithm.to_jwk(public)
    parts = {name: value for name, value in json.loads(made).items() if name in ("kty", "n", "e", "crv", "x", "y")}
    return parts | more


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header: Any, said: Any, key: Any, algorithm: str = "RS256") -> str:
    """Header and claims as they are, bytes or JSON, signed by an algorithm whatever the header says."""
    text = f"{part(header)}.{part(said)}"
    return f"{text}.{part(jwt.get_algorithm_by_name(algorithm).sign(text.encode(), key))}"


@dataclass
class OwnIssuer:
    """`asked` is what it was asked for, in order; while `let_go` is clear, answers wait."""

    url: str
    keys: list[dict[str, Any]] = field(default_factory=list)
    # What is answered instead, by path: a status, a body, and headers.
    instead: dict[str, tuple[int, bytes, dict[str, str]]] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)

    def claims(self, **more: Any) -> dict[str, Any]:
        """What a token says; None leaves a claim out."""
        usual = {"iss": self.url, "sub": "auth0|ada", "aud": AUDIENCE, "iat": NOW, "exp": NOW + 600}
        return {name: value for name, value in {**usual, **more}.items() if value is not None}

    def token(
        self, key: PRIVATE | None = None, algorithm: str = "RS256", *, kid: str | None = "one", **more: Any
    ) -> str:
        header = {"alg": algorithm, "typ": "JWT"} | ({} if kid is None else {"kid": kid})
        return signed(header, self.claims(**more), key or rsa_key("one"), algorithm)

    def answer(self, path: str) -> tuple[int, bytes, Mapping[str, str]]:
        if path in self.instead:
            return self.instead[path]
        documents = {
            "/.well-known/openid-configuration": {"issuer": self.url, "jwks_uri": f"{self.url}/keys"} | self.about,
            "/keys": {"keys": self.keys},
        }
        return (200, json.dumps(documents[path]).encode(), {}) if path in documents else (404, b"{}", {})


@contextmanager
def own_issuer(tls: SSLContext | None = None) -> Iterator[OwnIssuer]:
    """An issuer on this machine that publishes the key `one`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked.append(self.path)
            issuer.let_go.wait()
            status, body, headers = issuer.answer(self.path)
            # Who asks may go at any time.
            with suppress(OSError):
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """Who asks refuses our certificate."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        scheme, host = ("http", "127.0.0.1") if tls is None else ("https", "localhost")
        issuer = OwnIssuer(f"{scheme}://{host}:{server.server_address[1]}", [published(rsa_key("one"), kid="one")])
        issuer.let_go.set()
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield issuer
        finally:
            issuer.let_go.set()
            server.shutdown()
