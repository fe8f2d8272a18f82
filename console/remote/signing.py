"""`pgfleet login` and `logout`: a key for the API, kept in a file that only its owner reads."""

import os
import sys
from typing import Annotated

import typer

from pgfleet.console.examples import example
from pgfleet.console.remote import credentials
from pgfleet.console.remote.choosing import KEY, URL, checked
from pgfleet.console.remote.client import Api, path_of, usable
from pgfleet.console.remote.credentials import Login
from pgfleet.console.remote.problems import Away, NotProven, Problem
from pgfleet.console.showing import print_result
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.printable import printable

LONGEST_KEY = 200
Given = Annotated[str | None, typer.Argument(metavar="URL", help="The API, such as https://fleet.example.org.")]


@example("pgfleet login https://fleet.example.org --email ada@example.org")
def login(
    given: Given = None,
    *,
    email: Annotated[
        str | None, typer.Option(metavar="E", help="With the password, which is asked for, or is a line of stdin.")
    ] = None,
    key_stdin: Annotated[bool, typer.Option("--key-stdin", help="With a key, which is a line of stdin.")] = False,
    hours: Annotated[float | None, typer.Option(help="How long the session lasts: 2, unless given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Log in to the API, so that commands need no database. The key is kept in a file that only you can read.

    Commands use, in this order: PGFLEET_URL; the database that DATABASE_URL or PGFLEET_DATA_DIR names; the API that you
    logged in to last; a database of this machine. PGFLEET_URL set to nothing means no API. PGFLEET_KEY is a key that
    goes before what is kept.
    """
    url = _url(given)
    if key_stdin and (email is not None or hours is not None):
        raise FleetError("--key-stdin is instead of --email and --hours.")
    kept = _with_key(url) if key_stdin else _with_password(url, email, hours)
    where = credentials.save(url, kept)
    if as_json:
        shown = {"username": kept.username, "expires_at": kept.expires_at, "file": str(where)}
        print_json({"url": url, **shown})
        return
    until = "" if kept.expires_at is None else f", until {kept.expires_at[:16].replace('T', ' ')} UTC"
    out().print(printable(f"logged in to {url} as {kept.username}{until}"), soft_wrap=True)
    _say_what_goes_before(url)


def _url(given: str | None) -> str:
    """Raises FleetError: none is given, or it can't be used."""
    url = given or os.environ.get(URL) or credentials.read().current
    if not url:
        raise FleetError("Which API? pgfleet login https://fleet.example.org")
    return checked(url)


def _with_key(url: str) -> Login:
    key = usable(_line("key"))
    me = Api(url, key).get("/v1/me")
    return Login(str(me["username"]), key, None, me["expires_at"])


def _with_password(url: str, email: str | None, hours: float | None) -> Login:
    """Raises Refusal: the e-mail and the password are not those of an account."""
    who = email or (typer.prompt("E-mail", err=True) if sys.stdin.isatty() else None)
    if who is None:
        raise FleetError("Who are you? --email E, and the password as a line of stdin; or --key-stdin.")
    password = typer.prompt("Password", hide_input=True, err=True) if sys.stdin.isatty() else _line("password")
    try:
        made = Api(url, None).post("/v1/sessions", {"email": who, "password": password, "hours": hours})
    except NotProven:
        raise Refusal(f"{url} knows no account with this e-mail and password.") from None
    return Login(str(made["username"]), str(made["key"]), int(made["key_id"]), made["expires_at"])


def _line(what: str) -> str:
    """A line of stdin, so that it is in no list of processes and no history."""
    if sys.stdin.isatty():
        return str(typer.prompt(what.capitalize(), hide_input=True, err=True)).strip()
    text = sys.stdin.readline(LONGEST_KEY * 5).strip("\r\n")
    if not text:
        raise FleetError(f"The {what} is the first line of stdin, and there is none.")
    return text


def _say_what_goes_before(url: str) -> None:
    """Where the environment says something else, commands do that."""
    if os.environ.get(KEY):
        err().print(f"{KEY} is set, and goes before the key that is kept now.", style="yellow")
    if (os.environ.get(URL) or url).rstrip("/") != url:
        err().print(f"{URL} is set to another API, which commands use.", style="yellow")
    elif not os.environ.get(URL) and (os.environ.get("DATABASE_URL") or os.environ.get("PGFLEET_DATA_DIR")):
        err().print(f"A database is named, which commands use: with {URL}={url} they use the API.", style="yellow")


@example("pgfleet logout")
def logout(given: Given = None, *, as_json: AsJson = False) -> None:
    """Forget the key of an API. That of a session ends now; one that you brought goes on elsewhere."""
    url = _url(given)
    kept = credentials.read().logins.get(url)
    if kept is None:
        raise Refusal(f"You are not logged in to {url}.")
    try:
        if kept.key_id is not None:
            Api(url, kept.key).delete(path_of("keys", str(kept.key_id)))
    except (NotProven, Problem):
        pass  # it has ended already
    except Away as error:
        err().print(f"The key could not be ended, and ends by itself: {error}", style="yellow", soft_wrap=True)
    credentials.forget(url)
    print_result("url", url, "logged out", as_json=as_json)
