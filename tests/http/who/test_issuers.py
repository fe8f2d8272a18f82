"""An issuer's keys: rotated, withdrawn, slow to come, away, or none at all."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from pgfleet.producers.http.who.issuers import AGAIN_S, KEPT_S, MOST_WAITING, YOUNG_S
from pgfleet.producers.http.who.not_proven import IssuerAwayError, NotProvenError
from pgfleet.producers.http.who.oidc import Oidc
from worlds.fleet import PATIENCE_S, until
from worlds.network.certificates import certificate
from worlds.network.issuer import OwnIssuer, ec_key, own_issuer, published, rsa_key

DISCOVERY = "/.well-known/openid-configuration"


def fetches(issuer: OwnIssuer) -> int:
    return issuer.asked.count("/keys")


def rotate(issuer: OwnIssuer, name: str = "two") -> None:
    issuer.keys = [published(rsa_key(name), kid=name)]


def test_keys_are_asked_for_once_for_all_tokens(oidc: Oidc, issuer: OwnIssuer) -> None:
    for _ in range(20):
        oidc.verify(issuer.token())

    assert issuer.asked == [DISCOVERY, "/keys"]


def test_a_new_key_is_believed_with_the_first_token_that_names_it(oidc: Oidc, issuer: OwnIssuer, clock: Any) -> None:
    oidc.verify(issuer.token())
    rotate(issuer)
    clock.now += AGAIN_S

    assert oidc.verify(issuer.token(rsa_key("two"), kid="two")).subject == "auth0|ada"


def test_a_new_key_that_no_token_names_is_believed_too(oidc: Oidc, issuer: OwnIssuer, clock: Any) -> None:
    issuer.keys = [published(rsa_key("one"))]
    oidc.verify(issuer.token(kid=None))
    issuer.keys = [published(rsa_key("two"))]
    clock.now += AGAIN_S

    assert oidc.verify(issuer.token(rsa_key("two"), kid=None)).subject == "auth0|ada"
    with pytest.raises(NotProvenError, match="signature"):
        oidc.verify(issuer.token(kid=None))


def test_without_a_name_there_is_no_choice_among_keys(oidc: Oidc, issuer: OwnIssuer) -> None:
    issuer.keys.append(published(rsa_key("two"), kid="two"))

    with pytest.raises(NotProvenError, match="does not publish"):
        oidc.verify(issuer.token(kid=None))


def test_two_keys_of_one_name_are_both_the_issuers(oidc: Oidc, issuer: OwnIssuer) -> None:
    issuer.keys.append(published(rsa_key("two"), kid="one"))

    assert oidc.verify(issuer.token()).subject == "auth0|ada"
    assert oidc.verify(issuer.token(rsa_key("two"))).subject == "auth0|ada"


def test_a_key_that_was_withdrawn_is_not_believed_for_long(oidc: Oidc, issuer: OwnIssuer, clock: Any) -> None:
    oidc.verify(issuer.token())
    rotate(issuer)
    clock.now += YOUNG_S + 1

    oidc.verify(issuer.token())
    until(lambda: oidc.known()[0].age_s == 0)

    with pytest.raises(NotProvenError, match="does not publish"):
        oidc.verify(issuer.token())


def test_names_that_attackers_invent_ask_the_issuer_once_in_ten_seconds(
    oidc: Oidc, issuer: OwnIssuer, clock: Any
) -> None:
    oidc.verify(issuer.token())

    for number in range(100):
        with pytest.raises(NotProvenError, match="does not publish"):
            oidc.verify(issuer.token(kid=f"invented-{number}"))
    at_once = fetches(issuer)
    clock.now += AGAIN_S
    for number in range(100):
        with pytest.raises(NotProvenError, match="does not publish"):
            oidc.verify(issuer.token(kid=f"invented-{number}"))

    assert (at_once, fetches(issuer)) == (1, 2)


def test_signatures_that_attackers_invent_ask_the_issuer_once_in_ten_seconds(
    oidc: Oidc, issuer: OwnIssuer, clock: Any
) -> None:
    oidc.verify(issuer.token())
    clock.now += AGAIN_S

    for _ in range(50):
        with pytest.raises(NotProvenError, match="signature"):
            oidc.verify(issuer.token(rsa_key("attacker"), kid=None))

    assert fetches(issuer) == 2


def test_an_issuer_that_is_away_locks_out_nobody_whose_key_is_known(oidc: Oidc, issuer: OwnIssuer, clock: Any) -> None:
    oidc.verify(issuer.token())
    issuer.instead["/keys"] = (503, b"{}", {})
    clock.now += KEPT_S

    assert oidc.verify(issuer.token()).subject == "auth0|ada"
    until(lambda: oidc.known()[0].trouble == "/keys was answered with 503")
    assert oidc.verify(issuer.token()).subject == "auth0|ada"


def test_what_an_issuer_said_long_ago_is_not_believed_for_ever(oidc: Oidc, issuer: OwnIssuer, clock: Any) -> None:
    oidc.verify(issuer.token())
    issuer.instead["/keys"] = (503, b"{}", {})
    clock.now += KEPT_S + 1

    with pytest.raises(IssuerAwayError):
        oidc.verify(issuer.token())


def test_an_issuer_that_comes_back_is_asked_again(oidc: Oidc, issuer: OwnIssuer, clock: Any) -> None:
    issuer.instead["/keys"] = (503, b"{}", {})
    with pytest.raises(IssuerAwayError) as away:
        oidc.verify(issuer.token())
    issuer.instead.clear()
    clock.now += away.value.retry_after_s

    assert oidc.verify(issuer.token()).subject == "auth0|ada"
    assert oidc.known()[0].trouble is None


def test_an_issuer_that_never_answered_is_not_asked_by_everybody(oidc: Oidc, issuer: OwnIssuer) -> None:
    issuer.instead[DISCOVERY] = (500, b"", {})

    for _ in range(20):
        with pytest.raises(IssuerAwayError):
            oidc.verify(issuer.token())

    assert issuer.asked == [DISCOVERY]


def test_a_slow_issuer_holds_nobody_whose_key_is_known(oidc: Oidc, issuer: OwnIssuer, clock: Any) -> None:
    oidc.verify(issuer.token())
    issuer.let_go.clear()
    clock.now += YOUNG_S + 1

    subjects = [oidc.verify(issuer.token()).subject for _ in range(20)]
    asked = until(lambda: len(issuer.asked) == 3)

    assert (set(subjects), asked) == ({"auth0|ada"}, True)


def test_a_slow_issuer_holds_no_more_than_a_few(oidc: Oidc, issuer: OwnIssuer) -> None:
    issuer.let_go.clear()
    ended: list[object] = []

    def ask() -> None:
        try:
            ended.append(oidc.verify(issuer.token()).subject)
        except IssuerAwayError as error:
            ended.append(error)

    threads = [threading.Thread(target=ask) for _ in range(MOST_WAITING + 5)]
    for thread in threads:
        thread.start()
    until(lambda: len(ended) == 5)
    sent_away = list(ended)
    issuer.let_go.set()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert all(isinstance(each, IssuerAwayError) for each in sent_away)
    assert ended[5:] == ["auth0|ada"] * MOST_WAITING


def test_one_issuer_that_is_slow_is_not_another(reads: Callable[..., Oidc], issuer: OwnIssuer) -> None:
    with own_issuer() as slow:
        slow.let_go.clear()
        oidc = reads(slow, issuer)
        oidc.prepare()

        assert oidc.verify(issuer.token()).subject == "auth0|ada"


def test_what_was_prepared_is_there(oidc: Oidc, issuer: OwnIssuer) -> None:
    oidc.prepare()

    until(lambda: oidc.known()[0].keys == 1)

    assert (oidc.known()[0].issuer, oidc.known()[0].trouble) == (issuer.url, None)


def weak() -> dict[str, Any]:
    return published(rsa_key("weak", 1024), kid="one")


def without(name: str) -> dict[str, Any]:
    key = published(rsa_key("one"), kid="one")
    del key[name]
    return key


@pytest.mark.parametrize(
    "key",
    [
        published(rsa_key("one"), kid="one", use="enc"),
        published(rsa_key("one"), kid="one", key_ops=["encrypt"]),
        published(rsa_key("one"), kid="one", key_ops="verify"),
        published(rsa_key("one"), kid="one", alg="RSA-OAEP"),
        published(rsa_key("one"), kid="one", alg="HS256"),
        published(rsa_key("one"), kid="one", alg=["RS256"]),
        published(rsa_key("one"), kid="one", d="AQAB"),
        published(rsa_key("one"), kid=1),
        published(rsa_key("one"), kid="one", n=7),
        published(rsa_key("one"), kid="one", n="!!"),
        published(rsa_key("one"), kid="one", e=""),
        published(rsa_key("one"), kid="one", e="AA"),
        published(rsa_key("one"), kid="one", kty="EC"),
        published(rsa_key("one"), kid="one", kty="oct", k="c2VjcmV0"),
        published(ec_key(ec.SECP256R1), kid="one", crv="P-384"),
        published(ec_key(ec.SECP256R1), kid="one", x="AAAA"),
        published(ec_key(ec.SECP256R1), kid="one", crv=["P-256"]),
        published(ec_key(ec.SECP256K1), kid="one"),
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "one"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "one"},
        weak(),
        without("n"),
        without("kty"),
        {},
        "one",
        None,
    ],
)
def test_a_key_that_can_not_be_believed_is_left_out(oidc: Oidc, issuer: OwnIssuer, key: Any) -> None:
    issuer.keys = [key, published(rsa_key("two"), kid="two")]

    assert oidc.verify(issuer.token(rsa_key("two"), kid="two")).subject == "auth0|ada"
    with pytest.raises(NotProvenError, match="does not publish"):
        oidc.verify(issuer.token())


OTHER = json.dumps({"keys": [published(rsa_key("one"), kid="one")]}).encode()


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (DISCOVERY, (302, b"", {"Location": "/elsewhere"})),
        ("/keys", (301, b"", {"Location": "/elsewhere"})),
        ("/keys", (200, b"", {})),
        ("/keys", (200, b"[]", {})),
        ("/keys", (200, b"{", {})),
        ("/keys", (200, b'{"keys": []}', {})),
        ("/keys", (200, b'{"keys": {}}', {})),
        ("/keys", (200, b'{"keys": [], "keys": []}', {})),
        ("/keys", (404, OTHER, {})),
        ("/keys", (200, OTHER + b" " * 1024 * 1024, {})),
        ("/keys", (200, b"[" * 100_000, {})),
        ("/keys", (200, OTHER, {"Content-Encoding": "gzip"})),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value[0]}-{value[1][:12]!r}",
)
def test_an_answer_without_keys_is_none(
    oidc: Oidc, issuer: OwnIssuer, path: str, answer: tuple[int, bytes, dict[str, str]]
) -> None:
    issuer.instead[path] = answer
    issuer.instead["/elsewhere"] = (200, OTHER, {})

    with capture_logs() as logs, pytest.raises(IssuerAwayError):
        oidc.verify(issuer.token())

    assert "/elsewhere" not in issuer.asked
    assert [(each["event"], each["issuer"]) for each in logs] == [("oidc.issuer_away", issuer.url)]
    assert oidc.known()[0].trouble == logs[0]["trouble"]


@pytest.mark.parametrize(
    "about",
    [
        {"issuer": "https://evil.example.org"},
        {"issuer": None},
        {"jwks_uri": None},
        {"jwks_uri": "http://id.example.org/keys"},
        {"jwks_uri": "http://169.254.169.254/latest"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "https://ada:pw@id.example.org/keys"},
        {"jwks_uri": "https://"},
        {"jwks_uri": ["https://id.example.org"]},
        {"jwks_uri": "https://id.example.org:99999/"},
    ],
)
def test_a_document_that_leads_astray_is_not_followed(oidc: Oidc, issuer: OwnIssuer, about: dict[str, Any]) -> None:
    issuer.about = about

    with pytest.raises(IssuerAwayError):
        oidc.verify(issuer.token())

    assert issuer.asked == [DISCOVERY]


def test_an_issuer_proves_itself_by_its_certificate(
    reads: Callable[..., Oidc], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem, context = certificate(tmp_path)
    with own_issuer(context) as issuer:
        with pytest.raises(IssuerAwayError):
            reads(issuer).verify(issuer.token())
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))

        assert reads(issuer).verify(issuer.token()).subject == "auth0|ada"


def test_an_issuer_of_tls_is_not_led_to_open_ground(
    reads: Callable[..., Oidc], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem, context = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with own_issuer(context) as issuer, own_issuer() as plain:
        issuer.about = {"jwks_uri": f"{plain.url}/keys"}

        with pytest.raises(IssuerAwayError):
            reads(issuer).verify(issuer.token())

    assert plain.asked == []
