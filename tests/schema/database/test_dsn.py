"""Connection strings are shown without their secrets, whole or within other text."""

import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfleet.schema.database.dsn import Unreachable, redact
from pgfleet.schema.database.sessions import connect


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("postgresql://u:secret@h:5432/db?sslmode=require", "postgresql://u:***@h:5432/db?sslmode=require"),
        ("postgresql://u:se@cr/et@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:a secret@h/db", "postgresql://u:***@h/db"),
        ("postgresql+psycopg://u:secret@h", "postgresql+psycopg://u:***@h"),
        ("postgresql://h/db?password=secret&user=u", "postgresql://h/db?password=***&user=u"),
        ("postgresql://h/db?sslpassword=secret", "postgresql://h/db?sslpassword=***"),
        ("postgresql://h1,h2/db?password=my secret&user=u", "postgresql://h1,h2/db?password=***&user=u"),
        ("postgresql://u:secret@h1:1,h2:2/db?passfile=x", "postgresql://u:***@h1:1,h2:2/db?passfile=x"),
        ("host=h password=secret user=u", "host=h password=*** user=u"),
        (r"password = 'a \' secret' host=h", "password = *** host=h"),
        (r"password=a\ secret host=h", "password=*** host=h"),
        ("password=se'cret host=h", "password=*** host=h"),
        ("host=h password='never closed secret", "host=h password=***"),
        (
            "could not reach postgresql://u:secret@h/db: refused",
            "could not reach postgresql://u:***@h/db: refused",
        ),
        ("https://token:secret@h/path", "https://token:***@h/path"),
    ],
)
def test_a_password_is_not_shown(dsn: str, shown: str) -> None:
    assert redact(dsn) == shown


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u@h:5432/db",
        "postgresql://postgres@/pgfleet?host=%2Ftmp%2Fx&port=5432",
        "host=/tmp dbname=x passfile=/home/u/.pgpass",
        "http://h:80/admin/users?filter_by=user_email:dev@example.com",
        'password authentication failed for user "u"',
    ],
)
def test_what_holds_no_secret_is_shown_as_it_is(text: str) -> None:
    assert redact(text) == text


@given(password=st.text(min_size=12), user=st.from_regex(r"[a-z]{1,8}", fullmatch=True))
def test_no_password_of_a_url_is_shown(user: str, password: str) -> None:
    assert password not in redact(f"postgresql://{user}:{password}@host/db")


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:se@cret@127.0.0.1:1/db",
        "postgresql://u:secret@127.0.0.1:1/db",
        "postgresql://u:secret@127.0.0.1:1/db?nonsense=1",
        "host=127.0.0.1 port=1 user=u password=secret",
        "host=127.0.0.1 password=my secret",
    ],
)
def test_an_unreachable_server_is_told_without_the_password(dsn: str) -> None:
    with pytest.raises(Unreachable) as failed:
        connect(dsn)

    assert "cret" not in "".join(traceback.format_exception(failed.value, chain=True)).split("Unreachable:")[1]
