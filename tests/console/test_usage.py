"""What people see of use and of what is owed: all users in a month, or one user's days and charges."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from worlds.commands import Pgfleet
from worlds.database import Connection, fresh_database
from worlds.fleet import new_id
from worlds.outside.usage import ADA, BOB, add_user, set_clock

CLEAN = """
truncate hopsworks.usage_daily, hopsworks.user_credits, hopsworks.billing_history;
set session_replication_role = replica;
truncate hopsworks.users cascade;
set session_replication_role = origin;
update hopsworks.billing_rates set currency = 'USD'
"""


@pytest.fixture(scope="module")
def usage_dsn(server_dsn: str, template: str) -> Iterator[str]:
    with fresh_database(server_dsn, template) as dsn:
        yield dsn


@pytest.fixture
def conn(usage_dsn: str) -> Iterator[Connection]:
    """One database for all, emptied for each; it is November."""
    with psycopg.connect(usage_dsn, autocommit=True) as conn:
        conn.execute(CLEAN)
        set_clock(conn, "2026-11-30 23:59")
        yield conn


@pytest.fixture
def pgfleet(
    usage_dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Pgfleet:
    return Pgfleet(usage_dsn, monkeypatch, capsys)


def use(conn: Connection, day: str, cost: float, user: str = ADA, gpu_hours: float = 1) -> None:
    conn.execute(
        "insert into hopsworks.usage_daily (user_id, date, seat_days, gpu_hours, cpu_hours, total_cost)"
        " values (%s, %s, 0.5, %s, 0.25, %s)",
        (user, day, gpu_hours, cost),
    )


def credit(conn: Connection, used: float, bought: float | None, user: str = ADA) -> None:
    conn.execute(
        "insert into hopsworks.user_credits (user_id, total_used, total_purchased) values (%s, %s, %s)",
        (user, used, bought),
    )


def charge(conn: Connection, amount: float, status: str, user: str = ADA, **columns: Any) -> None:
    given = {"id": new_id(), "user_id": user, "amount": amount, "status": status, **columns}
    names, places = ", ".join(given), ", ".join(f"%({name})s" for name in given)
    conn.execute(f"insert into hopsworks.billing_history ({names}) values ({places})", given)


def line_with(text: str, word: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if word in line)
    return line.split()


def test_without_use_it_says_when_there_will_be_some(pgfleet: Pgfleet, conn: Connection) -> None:
    add_user(conn)

    end = pgfleet("usage")

    assert end.code == 0
    assert "no usage yet: a day is billed from an hour after its end" in end.out


def test_users_are_listed_with_the_sums_of_the_month_who_cost_most_first(pgfleet: Pgfleet, conn: Connection) -> None:
    for user in (ADA, BOB, "auth0|eve"):
        add_user(conn, user)
    for day, cost in (("2026-10-31", 100), ("2026-11-01", 1000.5), ("2026-11-30", 2.25), ("2026-12-01", 100)):
        use(conn, day, cost)
    use(conn, "2026-11-02", 3000, BOB)
    credit(conn, 1202.75, 200)
    charge(conn, 50, "pending")
    charge(conn, 60, "failed")

    end = pgfleet("usage")

    assert "2026-11, money in USD" in end.out
    assert line_with(end.out, ADA)[2:] == [
        "1.00",
        "2.00",
        "0.50",
        "0.00",
        "1,002.75",
        "1,202.75",
        "200.00",
        "50.00",
        "952.75",
    ]
    assert end.out.index(BOB) < end.out.index(ADA)
    assert "eve" not in end.out


@pytest.mark.parametrize(("month", "cost"), [("2026-10", 7.0), ("2026-12", 9.0), ("2025-11", 0.0)])
def test_another_month_may_be_asked_for(pgfleet: Pgfleet, conn: Connection, month: str, cost: float) -> None:
    add_user(conn)
    use(conn, "2026-10-31", 7)
    use(conn, "2026-12-31", 9)
    credit(conn, 16, 0)

    told = pgfleet("usage", "--month", month, "--json").json

    assert (told["month"], [user["total_cost"] for user in told["users"]]) == (month, [cost])


@pytest.mark.parametrize("month", ["November", "2026-13", "2026-00", "26-11", "2026-1", "0000-01", ""])
def test_what_is_no_month_is_wrong_usage(pgfleet: Pgfleet, month: str) -> None:
    end = pgfleet("usage", "--month", month)

    assert (end.code, end.out) == (2, "")
    assert "is no month. Give it as 2026-11." in end.err


def test_the_json_of_users_has_numbers(pgfleet: Pgfleet, conn: Connection) -> None:
    add_user(conn)
    use(conn, "2026-11-01", 12.3456)

    assert pgfleet("usage", "--json").json == {
        "month": "2026-11",
        "currency": "USD",
        "users": [
            {
                "user_id": ADA,
                "email": "ada@example.com",
                "days": 1,
                "seat_days": 0.5,
                "gpu_hours": 1.0,
                "cpu_hours": 0.25,
                "storage_gb_months": 0.0,
                "total_cost": 12.3456,
                "total_used": 0.0,
                "total_purchased": 0.0,
                "pending": 0.0,
                "outstanding": 0.0,
            }
        ],
    }


@pytest.mark.parametrize("given", [ADA, "AUTH0|ADA", "ada@example.com", "Ada@Example.com"])
def test_a_user_is_found_by_id_or_email_in_any_letter_case(pgfleet: Pgfleet, conn: Connection, given: str) -> None:
    add_user(conn)
    add_user(conn, BOB)

    assert pgfleet("usage", given, "--json").json["user_id"] == ADA


def test_one_user_is_shown_day_by_day_the_newest_first(pgfleet: Pgfleet, conn: Connection) -> None:
    add_user(conn)
    add_user(conn, BOB)
    use(conn, "2026-11-01", 1.5)
    use(conn, "2026-11-20", 2.5, gpu_hours=3)
    use(conn, "2026-10-31", 100)
    use(conn, "2026-11-20", 100, BOB)
    credit(conn, 104, 50)
    charge(conn, 50, "paid", description="usage up to 2026-10-30", stripe_invoice_id="in_1")
    charge(conn, 54, "pending", description="usage up to 2026-11-20", created_at="2026-11-21 10:00+00")

    end = pgfleet("usage", ADA)

    assert [line.split()[0] for line in end.out.splitlines() if line.startswith("2026-11-") and "." in line][:2] == [
        "2026-11-20",
        "2026-11-01",
    ]
    assert line_with(end.out, "sum")[1:] == ["1.00", "4.00", "0.50", "0.00", "4.00"]
    assert line_with(end.out, "owed") == ["owed", "0.00"]
    assert {"50.00", "paid", "in_1"} <= set(line_with(end.out, "2026-10-30"))
    assert {"54.00", "pending"} <= set(line_with(end.out, "usage up to 2026-11-20"))


def test_a_user_without_use_in_the_month_is_told_so(pgfleet: Pgfleet, conn: Connection) -> None:
    add_user(conn)

    end = pgfleet("usage", ADA, "--month", "2026-10")

    assert end.code == 0
    assert "nothing was billed in 2026-10" in end.out


def test_the_json_of_one_user_has_days_sums_credits_and_charges(pgfleet: Pgfleet, conn: Connection) -> None:
    add_user(conn)
    use(conn, "2026-11-01", 1.5)
    credit(conn, 1.5, None)
    charge(conn, 1.5, "pending")

    told = pgfleet("usage", ADA, "--json").json

    used = {"seat_days": 0.5, "gpu_hours": 1.0, "cpu_hours": 0.25, "storage_gb_months": 0.0, "total_cost": 1.5}
    assert told["days"] == [{"date": "2026-11-01", **used}]
    assert told["sums"] == used
    assert told["credits"] == {"total_used": 1.5, "total_purchased": 0.0, "pending": 1.5, "outstanding": 0.0}
    assert [(row["amount"], row["currency"], row["status"]) for row in told["charges"]] == [(1.5, "USD", "pending")]


def test_an_unknown_user_is_refused_with_where_to_look(pgfleet: Pgfleet, conn: Connection) -> None:
    add_user(conn)

    for given in ("nobody", "ada", "%", ""):
        end = pgfleet("usage", given)

        assert (end.code, end.out) == (1, "")
        assert "see `pgfleet users`" in end.err


def test_an_email_that_fits_several_in_other_letters_asks_for_the_id(pgfleet: Pgfleet, conn: Connection) -> None:
    add_user(conn, ADA, "ada@example.com")
    add_user(conn, BOB, "ADA@example.com")

    end = pgfleet("usage", "Ada@example.com")

    assert end.code == 1
    assert ADA in end.err
    assert BOB in end.err
    assert pgfleet("usage", "ADA@example.com", "--json").json["user_id"] == BOB


def test_names_can_not_move_the_cursor(pgfleet: Pgfleet, conn: Connection) -> None:
    add_user(conn, "auth0|\x1b[2Jeve", "eve\n@x")
    credit(conn, 1, 0, "auth0|\x1b[2Jeve")
    charge(conn, 1, "pending\x1b[2J", "auth0|\x1b[2Jeve", description="\x1b[2J")

    assert "\x1b" not in pgfleet("usage").out + pgfleet("usage", "eve\n@x").out


def test_rates_in_several_currencies_name_none(pgfleet: Pgfleet, conn: Connection) -> None:
    conn.execute("update hopsworks.billing_rates set currency = 'EUR' where resource = 'gpu_hour'")
    add_user(conn)
    use(conn, "2026-11-01", 1)

    assert "money in" not in pgfleet("usage").out
