"""Tokens that attackers make: none of them proves anything, and no refusal quotes one."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgfleet.producers.http.who.claims import Claims
from pgfleet.producers.http.who.not_proven import NotProvenError
from pgfleet.producers.http.who.oidc import TOKEN_BYTES, Oidc
from worlds.network.issuer import NOW, OwnIssuer, ec_key, own_issuer, part, published, rsa_key, signed

RS = {"alg": "RS256", "typ": "JWT", "kid": "one"}


def refusal(oidc: Oidc, token: str) -> str:
    """Why a token is not believed; nothing of the token is in it, nor in what led to it."""
    with pytest.raises(NotProvenError) as refused:
        oidc.verify(token)
    reason = refused.value.reason
    assert not any(len(piece) > 8 and piece in reason for piece in token.split("."))
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None or refused.value.__suppress_context__
    return reason


def test_what_an_issuer_signs_is_believed(oidc: Oidc, issuer: OwnIssuer) -> None:
    token = issuer.token(
        email="ada@example.org",
        email_verified=True,
        preferred_username="ada",
        nickname="al",
        name="Ada L.",
        exp=NOW + 3600,
        realm_access={"roles": ["offline_access", "devops"]},
    )

    claims = oidc.verify(token)

    assert (claims.issuer, claims.subject, claims.expires_at.timestamp()) == (issuer.url, "auth0|ada", NOW + 3600)
    assert (claims.email, claims.email_verified, claims.username) == ("ada@example.org", True, "ada")
    assert (claims.name, claims.role) == ("Ada L.", "DEVOPS")


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_a_key_of_rsa_signs_by_each_of_its_algorithms(oidc: Oidc, issuer: OwnIssuer, algorithm: str) -> None:
    assert oidc.verify(issuer.token(algorithm=algorithm)).subject == "auth0|ada"


@pytest.mark.parametrize(
    ("curve", "algorithm"), [(ec.SECP256R1, "ES256"), (ec.SECP384R1, "ES384"), (ec.SECP521R1, "ES512")]
)
def test_a_key_of_a_curve_signs_by_the_one_of_that_curve(
    oidc: Oidc, issuer: OwnIssuer, curve: type[ec.EllipticCurve], algorithm: str
) -> None:
    issuer.keys = [published(ec_key(curve), kid="one")]

    assert oidc.verify(issuer.token(ec_key(curve), algorithm)).subject == "auth0|ada"


def by_none(issuer: OwnIssuer) -> str:
    return f"{part({'alg': 'none', 'kid': 'one'})}.{part(issuer.claims())}."


def by_none_with_a_signature(issuer: OwnIssuer) -> str:
    return signed({"alg": "None", "kid": "one"}, issuer.claims(), rsa_key("one"))


def by_the_public_key_as_a_secret(issuer: OwnIssuer) -> str:
    # As PyJWT refuses to sign with a PEM, the attacker's own code does it.
    import hashlib  # noqa: PLC0415
    import hmac  # noqa: PLC0415

    pem = rsa_key("one").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    text = f"{part({'alg': 'HS256', 'kid': 'one'})}.{part(issuer.claims())}"
    return f"{text}.{part(hmac.new(pem, text.encode(), hashlib.sha256).digest())}"


def by_ed25519(issuer: OwnIssuer) -> str:
    return signed({"alg": "EdDSA", "kid": "one"}, issuer.claims(), ed25519.Ed25519PrivateKey.generate(), "EdDSA")


def by_a_list(issuer: OwnIssuer) -> str:
    return signed({"alg": ["RS256"], "kid": "one"}, issuer.claims(), rsa_key("one"))


def without_any(issuer: OwnIssuer) -> str:
    return signed({"kid": "one"}, issuer.claims(), rsa_key("one"))


@pytest.mark.parametrize(
    "made", [by_none, by_none_with_a_signature, by_the_public_key_as_a_secret, by_ed25519, by_a_list, without_any]
)
def test_an_algorithm_that_is_not_taken_is_refused(
    oidc: Oidc, issuer: OwnIssuer, made: Callable[[OwnIssuer], str]
) -> None:
    reason = refusal(oidc, made(issuer))

    assert reason.startswith(("it is signed by an algorithm", "it is no signed token"))
    assert issuer.asked == [], "nothing was asked for it"


def test_an_algorithm_of_another_type_of_key_finds_no_key(oidc: Oidc, issuer: OwnIssuer) -> None:
    issuer.keys = [published(ec_key(ec.SECP256R1), kid="one")]

    assert "does not publish" in refusal(oidc, issuer.token())


def test_an_algorithm_of_another_curve_finds_no_key(oidc: Oidc, issuer: OwnIssuer) -> None:
    issuer.keys = [published(ec_key(ec.SECP384R1), kid="one")]
    token = signed(RS | {"alg": "ES256"}, issuer.claims(), ec_key(ec.SECP256R1), "ES256")

    assert "does not publish" in refusal(oidc, token)


def test_a_key_that_is_for_one_algorithm_is_for_no_other(oidc: Oidc, issuer: OwnIssuer) -> None:
    issuer.keys = [published(rsa_key("one"), kid="one", alg="PS512")]

    assert "does not publish" in refusal(oidc, issuer.token())
    assert oidc.verify(issuer.token(algorithm="PS512")).subject == "auth0|ada"


def test_whoever_has_another_key_signs_nothing(oidc: Oidc, issuer: OwnIssuer) -> None:
    assert "signature" in refusal(oidc, issuer.token(rsa_key("attacker")))


def test_claims_that_were_altered_are_not_signed(oidc: Oidc, issuer: OwnIssuer) -> None:
    header, _, signature = issuer.token().split(".")

    assert "signature" in refusal(oidc, f"{header}.{part(issuer.claims(sub='root'))}.{signature}")


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c"])
def test_a_key_that_the_token_brings_is_not_looked_at(oidc: Oidc, issuer: OwnIssuer, name: str) -> None:
    with own_issuer() as attacker:
        brought: dict[str, Any] = {
            "jku": f"{attacker.url}/keys",
            "x5u": f"{attacker.url}/keys",
            "jwk": published(rsa_key("attacker"), kid="one"),
            "x5c": ["MIIB"],
        }
        forged = signed(RS | {name: brought[name]}, issuer.claims(), rsa_key("attacker"))
        genuine = signed(RS | {name: brought[name]}, issuer.claims(), rsa_key("one"))

        assert "signature" in refusal(oidc, forged)
        assert oidc.verify(genuine).subject == "auth0|ada"
        assert attacker.asked == []


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ({"crit": ["exp"]}, "crit"),
        ({"crit": []}, "crit"),
        ({"crit": ["b64"], "b64": False}, "crit"),
        ({"b64": False}, "crit"),
        ({"typ": "logout+jwt"}, "typ"),
        ({"typ": "dpop+jwt"}, "typ"),
        ({"typ": 5}, "typ"),
        ({"typ": {}}, "typ"),
        ({"kid": 1}, "kid"),
        ({"kid": ""}, "kid"),
        ({"kid": "x" * 300}, "kid"),
        ({"kid": ["one"]}, "kid"),
    ],
)
def test_a_header_that_asks_for_more_is_refused(
    oidc: Oidc, issuer: OwnIssuer, header: dict[str, Any], why: str
) -> None:
    assert f"({why})" in refusal(oidc, signed(RS | header, issuer.claims(), rsa_key("one")))


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt", None])
def test_tokens_of_both_sorts_are_taken(oidc: Oidc, issuer: OwnIssuer, kind: str | None) -> None:
    assert oidc.verify(signed(RS | {"typ": kind}, issuer.claims(), rsa_key("one"))).subject == "auth0|ada"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"iss": None}, "its issuer is none"),
    ({"iss": "https://evil.example.org"}, "its issuer is none"),
    ({"iss": ["x"]}, "its issuer is none"),
    ({"iss": 7}, "its issuer is none"),
    ({"aud": None}, "aud"),
    ({"aud": "another"}, "somebody else"),
    ({"aud": []}, "somebody else"),
    ({"aud": ["another", "third"]}, "somebody else"),
    ({"aud": ["fleet", 7]}, "aud"),
    ({"aud": {"fleet": True}}, "aud"),
    ({"aud": "fleet-two"}, "somebody else"),
    ({"exp": None}, "no end"),
    ({"exp": NOW - 60}, "expired"),
    ({"exp": 0}, "expired"),
    ({"exp": str(NOW + 600)}, "(exp)"),
    ({"exp": True}, "(exp)"),
    ({"exp": [NOW + 600]}, "(exp)"),
    ({"exp": 1e18}, "(exp)"),
    ({"exp": 10**90}, "(exp)"),
    ({"exp": -1}, "(exp)"),
    ({"nbf": NOW + 3600}, "not valid yet"),
    ({"nbf": "soon"}, "(nbf)"),
    ({"nbf": False}, "(nbf)"),
    ({"iat": NOW + 3600}, "not valid yet"),
    ({"iat": "now"}, "(iat)"),
    ({"iat": {}}, "(iat)"),
    ({"sub": None}, "(sub)"),
    ({"sub": ""}, "(sub)"),
    ({"sub": "  "}, "(sub)"),
    ({"sub": 12345}, "(sub)"),
    ({"sub": "x" * 256}, "(sub)"),
    ({"sub": "ada\0"}, "(sub)"),
    ({"sub": "ada\n"}, "(sub)"),
    ({"sub": "\ud800"}, "(sub)"),
    ({"sub": ["ada"]}, "(sub)"),
    ({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}, "event"),
]


@pytest.mark.parametrize(("wrong", "why"), WRONG, ids=[json.dumps(wrong)[:40] for wrong, _ in WRONG])
def test_what_is_signed_and_says_nothing_to_us_is_refused(
    oidc: Oidc, issuer: OwnIssuer, wrong: dict[str, Any], why: str
) -> None:
    assert why in refusal(oidc, issuer.token(**wrong))


def test_clocks_may_differ_by_a_minute(oidc: Oidc, issuer: OwnIssuer) -> None:
    token = issuer.token(exp=NOW - 59, iat=NOW + 60, nbf=NOW + 60)

    assert oidc.verify(token).subject == "auth0|ada"


def test_what_is_longer_than_16_kib_is_not_read(oidc: Oidc, issuer: OwnIssuer) -> None:
    long = issuer.token(padding="x" * TOKEN_BYTES)

    assert refusal(oidc, long) == "it is longer than 16 KiB"


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b'{"alg":"none","alg":"RS256","kid":"one"}', b'{"sub":"ada"}'),
        (json.dumps(RS).encode(), b'{"iss":"x","iss":"%b","sub":"ada"}'),
        (json.dumps(RS).encode(), b'{"sub":{"a":1,"a":2}}'),
        (b"[]", b"{}"),
        (b"{}", b"7"),
        (b"{", b"{}"),
        (b"\xff", b"{}"),
        (json.dumps(RS).encode(), b"[" * 2000 + b"]" * 2000),
        (json.dumps(RS).encode(), b'{"exp":NaN}'),
        (json.dumps(RS).encode(), b'{"exp":1e999}'),
        (json.dumps(RS).encode(), b'{"exp":' + b"9" * 5000 + b"}"),
    ],
)
def test_what_readers_do_not_agree_on_is_no_token(oidc: Oidc, issuer: OwnIssuer, header: bytes, said: bytes) -> None:
    said = said.replace(b"%b", issuer.url.encode())

    assert refusal(oidc, signed(header, said, rsa_key("one"))).startswith("it is no signed token")


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a.b", "a.b.c.d.e", "ä.b.c", "a.b.c\n", " a.b.c", "Bearer a.b.c", "e30=.e30.x"]
)
def test_what_is_no_token_is_said_to_be_none(oidc: Oidc, text: str) -> None:
    assert refusal(oidc, text).startswith("it is no signed token")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(max_size=60) | st.from_regex(r"[\w-]{1,40}\.[\w-]{1,40}\.[\w-]{1,40}", fullmatch=True))
def test_no_text_is_anything_but_refused(oidc: Oidc, text: str) -> None:
    with pytest.raises(NotProvenError):
        oidc.verify(text)


def test_one_subject_of_two_issuers_is_two_people(reads: Callable[..., Oidc], issuer: OwnIssuer) -> None:
    with own_issuer() as other:
        other.keys = [published(rsa_key("other"), kid="one")]
        oidc = reads(issuer, other)

        ours = oidc.verify(issuer.token())
        theirs = oidc.verify(other.token(rsa_key("other")))
        crossed = refusal(oidc, signed(RS, other.claims(), rsa_key("one")))

    assert identity(ours) != identity(theirs)
    assert ours.subject == theirs.subject
    assert "signature" in crossed, "an issuer signs for itself alone"


def identity(claims: Claims) -> tuple[str, str]:
    return claims.issuer, claims.subject


def test_an_audience_of_one_issuer_is_not_that_of_another(reads: Callable[..., Oidc], issuer: OwnIssuer) -> None:
    with own_issuer() as other:
        oidc = reads(oidc_issuers=json.dumps([{"issuer": issuer.url, "audience": "own"}, other.url]))

        assert oidc.verify(issuer.token(aud=["own", "userinfo"])).subject == "auth0|ada"
        assert "somebody else" in refusal(oidc, issuer.token())
        assert "somebody else" in refusal(oidc, other.token(aud="own"))


def test_a_slash_that_the_settings_lack_is_told(reads: Callable[..., Oidc], issuer: OwnIssuer) -> None:
    reason = refusal(reads(issuer), issuer.token(iss=f"{issuer.url}/"))

    assert "PGFLEET_OIDC_ISSUERS has it but for the slash at its end" in reason
