"""Settings of the HTTP API: a mistake in one is told by its name before anything listens."""

from ipaddress import ip_network

import pytest

from pgfleet.producers.http.settings import ServeSettings, read_serve_settings
from pgfleet.schema.environment.misspelt import misspelt
from pgfleet.schema.settings import BadSettings, Settings

ISSUER = "https://id.example.org"


def test_nobody_is_trusted_unless_it_is_said() -> None:
    settings = read_serve_settings()

    assert (settings.oidc_issuers, settings.trusted_proxies) == ((), ())


def test_issuers_are_a_list_with_one_audience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGFLEET_OIDC_ISSUERS", f"{ISSUER}, https://other.example.org/")
    monkeypatch.setenv("PGFLEET_OIDC_AUDIENCE", "fleet,fleet-cli")

    settings = read_serve_settings()

    assert [each.issuer for each in settings.oidc_issuers] == [ISSUER, "https://other.example.org/"]
    assert [settings.audience_of(each) for each in settings.oidc_issuers] == [("fleet", "fleet-cli")] * 2


def test_an_issuer_may_have_an_audience_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "PGFLEET_OIDC_ISSUERS", f'[{{"issuer": "{ISSUER}", "audience": "own"}}, "https://b.example.org"]'
    )
    monkeypatch.setenv("PGFLEET_OIDC_AUDIENCE", "fleet")

    settings = read_serve_settings()

    assert [settings.audience_of(each) for each in settings.oidc_issuers] == [("own",), ("fleet",)]


def test_an_issuer_without_an_audience_would_be_believed_about_anything() -> None:
    with pytest.raises(BadSettings, match="PGFLEET_OIDC_AUDIENCE is not set"):
        read_serve_settings(oidc_issuers=ISSUER)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"oidc_issuers": "http://id.example.org"}, "http://id.example.org is not https"),
        ({"oidc_issuers": "id.example.org"}, "PGFLEET_OIDC_ISSUERS"),
        ({"oidc_issuers": "https://ada:secret@id.example.org"}, "PGFLEET_OIDC_ISSUERS"),
        ({"oidc_issuers": "https://id.example.org/?x=1"}, "PGFLEET_OIDC_ISSUERS"),
        ({"oidc_issuers": '[{"issuer": "https://id.example.org", "audiense": "x"}]'}, "PGFLEET_OIDC_ISSUERS"),
        ({"oidc_issuers": '[{"issuer"'}, "begins as JSON does"),
        ({"oidc_issuers": f"{ISSUER},{ISSUER}"}, "names an issuer twice"),
        ({"oidc_issuers": ISSUER, "oidc_link_issuer": f"{ISSUER}/"}, "PGFLEET_OIDC_LINK_ISSUER"),
        ({"oidc_link_issuer": ISSUER}, "PGFLEET_OIDC_LINK_ISSUER"),
        ({"trusted_proxies": "10.0.0.1/8"}, "PGFLEET_TRUSTED_PROXIES"),
        ({"trusted_proxies": "proxy.example.org"}, "PGFLEET_TRUSTED_PROXIES"),
        ({"requests_per_s": 0}, "PGFLEET_REQUESTS_PER_S"),
        ({"strangers_burst": 0}, "PGFLEET_STRANGERS_BURST"),
    ],
)
def test_what_can_not_be_used_is_told_by_its_name(given: dict[str, object], said: str) -> None:
    with pytest.raises(BadSettings) as told:
        read_serve_settings(oidc_audience="fleet", **given)

    assert said in str(told.value)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("issuer", ["http://localhost:9400", "http://127.0.0.1:1", "http://[::1]:1"])
def test_an_issuer_on_this_machine_needs_no_tls(issuer: str) -> None:
    assert read_serve_settings(oidc_issuers=issuer, oidc_audience="fleet").oidc_issuers[0].issuer == issuer


def test_http_elsewhere_has_to_be_allowed() -> None:
    settings = read_serve_settings(oidc_issuers="http://id.test", oidc_audience="fleet", oidc_allow_http=True)

    assert settings.oidc_issuers[0].issuer == "http://id.test"


def test_proxies_are_addresses_and_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGFLEET_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.7,fd00::/8")

    proxies = read_serve_settings().trusted_proxies

    assert proxies == tuple(map(ip_network, ("10.0.0.0/8", "192.0.2.7", "fd00::/8")))


@pytest.mark.parametrize("field", sorted(set(ServeSettings.model_fields) - set(Settings.model_fields)))
def test_a_typo_in_any_of_them_is_told(field: str) -> None:
    name = f"PGFLEET_{field.upper()}"

    assert misspelt({f"{name[:-2]}{name[-1]}": "5"}) == {f"{name[:-2]}{name[-1]}": name}
    assert misspelt({name: "5"}) == {}
