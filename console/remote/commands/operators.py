"""`pgfleet queues`, `dead` and `doctor` through the API: for operators."""

import json

import typer

from pgfleet.console.commands import doctor as local_doctor
from pgfleet.console.commands import queues as local_queues
from pgfleet.console.commands.dead import show as local_dead
from pgfleet.console.remote.client import api, path_of
from pgfleet.console.remote.rows import timed
from pgfleet.console.remote.swapping import like, swapped
from pgfleet.producers.submit.options import named_as_options
from pgfleet.producers.submit.terminal import EXIT_FAILED, err, out, print_json
from pgfleet.schema.doctor.findings import Finding, Severity
from pgfleet.schema.printable import printable


@like(local_queues.queues)
def queues(*, as_json: bool) -> None:
    found = api().get("/v1/queues")["items"]
    if as_json:
        print_json(found)
        return
    for row in found:
        if row["paused"]:
            err().print(f"{row['queue']} is paused", style="yellow")
    out().print(local_queues.depth_table(found))


def list_letters(  # noqa: PLR0913  # one parameter an option
    *,
    kind: str | None,
    verdict: str | None,
    reason: str | None,
    row: str | None,
    answered_too: bool,
    most: int,
    as_json: bool,
) -> None:
    given = None if verdict is None else verdict.removesuffix("s")
    filters = {"kind": kind, "verdict": given, "reason": reason, "row": row, "answered": answered_too or None}
    with named_as_options({name: f"--{name}" for name in ("kind", "verdict", "reason", "row")}):
        found = timed(api().pages("/v1/dead-letters", most, **filters))
    if as_json:
        print_json(found)
    elif found:
        # Bodies are not shown: an action is read from the reason, if at all.
        out().print(local_dead.letter_table({"message": None, **letter} for letter in found))
    else:
        err().print("no dead letters" if answered_too else "no open dead letters")


def show_letter(number: int, *, as_json: bool) -> None:
    letter = timed(api().get(path_of("dead-letters", str(number))))
    if as_json:
        print_json(letter)
        return
    for name, value in letter.items():
        shown = json.dumps(value, indent=2, default=str) if isinstance(value, dict) else printable(value)
        out().print(f"{name:<15} {shown}")


DEAD = swapped("dead", local_dead.app, {"ls": list_letters, "show": show_letter})


@like(local_doctor.doctor)
def doctor(*, as_json: bool) -> None:
    found = api().get("/v1/doctor")["items"]
    if as_json:
        print_json(found)
    else:
        for each in found:
            finding = Finding(each["check"], Severity(each["severity"]), each["text"], each["remedy"])
            local_doctor.print_finding(finding)
    if any(each["severity"] == Severity.ERROR.value for each in found):
        raise typer.Exit(EXIT_FAILED)
