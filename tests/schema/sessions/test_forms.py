"""Whatever form of connection string libpq takes is taken wherever we take one."""

from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgfleet.schema.database.dsn import at_database, url_of
from pgfleet.schema.database.pool import Pool
from pgfleet.schema.database.sessions import connect, open_session
from pgfleet.schema.settings import BadSettings, read_settings
from worlds.commands import Pgfleet

FORMS = (
    *("keywords", "keywords, several hosts", "url", "url, several hosts", "url of sqlalchemy"),
    *("service", "url of a service", "variables"),
)


def forms(said: dict[str, str]) -> dict[str, str]:
    """The last three leave the rest to what else libpq reads."""
    several = make_conninfo(**{**said, "host": f"/nowhere,{said['host']}", "port": f"1,{said['port']}"})
    given = make_conninfo(**said)
    strings = (
        *(given, several, url_of(given), url_of(make_conninfo(several, target_session_attrs="read-write"))),
        url_of(given).replace("postgresql:", "postgresql+psycopg:"),
        *("service=fleet", "postgresql://?service=fleet", "postgresql://"),
    )
    return dict(zip(FORMS, strings, strict=True))


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest, fleet_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A connection string of that form, which leads to a migrated database."""
    said = {"port": "5432", **{name: str(value) for name, value in conninfo_to_dict(fleet_dsn).items()}}
    lines = ["[fleet]", *(f"{name}={value}" for name, value in said.items())]
    (tmp_path / "services").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    if request.param == "variables":
        monkeypatch.setenv("PGSERVICE", "fleet")
    return forms(said)[request.param]


def test_a_session_and_a_pool_are_opened(form: str, fleet_dsn: str) -> None:
    with connect(form) as conn, Pool(lambda: open_session(form), 1) as pool, pool.connection() as pooled:
        assert conn.info.dbname == pooled.info.dbname == conninfo_to_dict(fleet_dsn)["dbname"]


def test_commands_take_it(
    form: str, fleet_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pgfleet = Pgfleet(form, monkeypatch, capsys)

    said = [pgfleet(*command.split()) for command in ("db status", "db url", "migrate --check", "ls", "types")]

    assert [ended.code for ended in said] == [0] * 5
    with psycopg.connect(said[1].out.strip()) as conn:
        assert conn.info.dbname == conninfo_to_dict(fleet_dsn)["dbname"]


def test_another_database_of_the_same_server_is_named(form: str) -> None:
    with psycopg.connect(at_database(form, "postgres")) as conn, psycopg.connect(url_of(form)) as same:
        assert conn.info.dbname == "postgres"
        assert same.info.dbname != "postgres"


@pytest.mark.parametrize(
    "dsn",
    [
        *("nonsense", "mysql://u:secret@h/db", "host=h pasword=secret", "postgresql://u:se@cret@h/db"),
        "postgresql://u:secret@h/db?connect_timeout=abc",
    ],
)
def test_what_libpq_does_not_take_is_told_with_its_variable(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", dsn)

    with pytest.raises(BadSettings, match="DATABASE_URL: ") as refused:
        read_settings()

    assert "cret" not in str(refused.value)


def test_a_password_alone_is_no_name() -> None:
    dsn = r"password='it\'s a / secret' host=h1,h2 options='-c x=y z'"

    assert conninfo_to_dict(url_of(dsn)) == conninfo_to_dict(dsn)
