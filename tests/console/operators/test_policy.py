"""`pgfleet policy`: operators say how much one user may have, users see it, and a dry run looks at it."""

import psycopg
import pytest
from psycopg import sql

from worlds.commands import Pgfleet
from worlds.fleet import Connection, Worker, new_id
from worlds.reservations import active

DRY_RUN = ("submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--dry-run")


@pytest.fixture
def pgfleet(dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pgfleet:
    return Pgfleet(dsn, monkeypatch, capsys)


def test_a_policy_is_set_shown_removed_and_audited(pgfleet: Pgfleet, conn: Connection) -> None:
    said = pgfleet("policy", "set", "gpus", "4", "--gpu-type", "h100", "--user", "ada", "--json").json
    pgfleet("policy", "set", "gpus", "6", "--gpu-type", "h100", "--user", "ada")
    pgfleet("policy", "set", "images", "ghcr.io/acme/*, python:3.12", "--team", "auth0|own")
    listed = pgfleet("policy", "--json").json
    of_ada = pgfleet("policy", "--user", "ada").out
    removed = pgfleet("policy", "remove", "gpus", "--gpu-type", "h100", "--user", "ada")
    again = pgfleet("policy", "remove", "gpus", "--gpu-type", "h100", "--user", "ada")

    assert said == {"policy": "gpus of h100 for user ada", "result": "is 4"}
    assert [row["most"] for row in listed if row["subject"] == "ada"] == [6]
    assert [row["patterns"] for row in listed if row["subject"] == "auth0|own"] == [["ghcr.io/acme/*", "python:3.12"]]
    assert "h100 GPUs that wait or run" in of_ada
    assert (removed.code, again.code) == (0, 1)
    audited = conn.execute("select action, details::jsonb ->> 'reason' from autoscaler.audit_logs order by id")
    assert audited.fetchall() == [
        ("POLICY_CREATED", "ada: gpus of h100 for user ada: 4"),
        ("POLICY_UPDATED", "ada: gpus of h100 for user ada: 6"),
        ("POLICY_CREATED", "ada: images for team auth0|own: ghcr.io/acme/*, python:3.12"),
        ("POLICY_DELETED", "ada: gpus of h100 for user ada: removed"),
    ]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("gpu", "4"), "Did you mean gpus?"),
        (("gpus", "many"), "takes a number from 0 on"),
        (("gpus", "1.5"), "takes a number from 0 on"),
        (("gpus", "nan"), "takes a number from 0 on"),
        (("hours", "4", "--gpu-type", "h100"), "--gpu-type is for gpus only"),
        (("gpus", "4", "--gpu-type", "h1000"), "There is no GPU type h1000"),
        (("gpus", "4", "--user", "a", "--team", "b"), "Give --user or --team"),
        (("gpus", "4", "--user", "a\nb"), "printable"),
        (("images", " , "), "patterns"),
    ],
)
def test_what_makes_no_sense_is_refused_with_why(pgfleet: Pgfleet, given: tuple[str, ...], says: str) -> None:
    ended = pgfleet("policy", "set", *given)

    assert ended.code in (1, 2)
    assert says in ended.err


def test_a_dry_run_looks_at_what_its_user_may_have(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    pgfleet("policy", "set", "gpus", "4", "--user", "ada")
    active(conn, worker)

    fits = pgfleet(*DRY_RUN, "--gpus", "2")
    refused = pgfleet(*DRY_RUN, "--gpus", "4")
    sent = pgfleet(*DRY_RUN[:-1], "--gpus", "4")

    told = "ada has 2 h100 GPUs that wait or run, and may have 4; 4 more would be too many"
    assert fits.code == 0
    assert refused.out == f"would be rejected: {told}\n"
    assert told in " ".join(sent.err.split())
    assert conn.execute(
        "select count(*) from pgmq.q_gpu_reservations where message ->> 'gpu_count' = '4'"
    ).fetchone() == (0,)


def test_a_users_own_login_sees_what_applies_to_it_and_changes_nothing(
    pgfleet: Pgfleet, conn: Connection, dsn: str
) -> None:
    name, password = f"ada_{new_id()[:8]}", new_id()
    conn.execute("select public.switch_row_level_security(true)")
    login = sql.Identifier(name)
    conn.execute(sql.SQL("create role {} login password {} in role pgfleet_user").format(login, sql.Literal(password)))
    try:
        pgfleet("policy", "set", "gpus", "4", "--user", name)
        pgfleet("policy", "set", "gpus", "1", "--user", "bob")
        with psycopg.connect(dsn, user=name, password=password, autocommit=True) as own:
            seen = own.execute("select subject, most from public.policies where limit_name = 'gpus'").fetchall()
            mine = own.execute(
                "select distinct most from public.limits_seen(%s) where name = 'gpus'", (name,)
            ).fetchall()
            bobs = own.execute("select * from public.limits_seen('bob')").fetchall()
            for change in ("update public.policies set most = 9", "delete from public.policies"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    own.execute(change)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                own.execute("select * from public.limits_of('{bob}')")
    finally:
        conn.execute(sql.SQL("drop role {}").format(login))

    assert (seen, mine, bobs) == ([(name, 4)], [(4,)], [])
