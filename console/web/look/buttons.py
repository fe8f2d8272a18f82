"""Buttons: each asks an endpoint by its name, says first what can't be undone, and is safe to press twice."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any

import htpy as h

from pgfleet.console.web.page import View
from pgfleet.producers.http.endpoint import Endpoint
from pgfleet.producers.http.serving import endpoints

# The fields of a form that are not the endpoint's: BACK is where one comes to, ASKED_AT where to mend what is refused.
ONCE, BACK, ASKED_AT, DONE, REASON, IN_PATH = "once", "back", "asked_at", "done", "reason", "path."
ACTIONS = "/do"


@cache
def operations() -> Mapping[str, Endpoint]:
    """The writes that a button may ask for, by their names (the `operationId` of `/openapi.json`)."""
    return {
        each.name: each for each in endpoints() if each.audit is not None and not each.is_open and not each.is_alone
    }


def token(*seen: Any) -> str:
    """Names what a button was shown for: the same twice is done once, and what has changed since has another."""
    return sha256(json.dumps(seen, default=str, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Act:
    """What a button does.

    Attributes:
        operation: the endpoint's name, such as `cancel_reservation`.
        label: what is on it, a verb.
        once: of `token`: what it was shown for.
        path: the values of the names in the endpoint's path.
        fields: what is filled in; their names are those of the endpoint's body.
        given: further ones of the body, or of the parameters of an endpoint without one, that nobody fills in.
        consequence: a sentence on what it leads to; then it is pressed a second time, beside that sentence.
        done: what the next page says.
        back: where one comes to; the page of the button, unless it is given.
        takes_reason: whether it asks for a reason, which goes into the audit.
    """

    operation: str
    label: str
    once: str
    path: Mapping[str, str] | None = None
    fields: h.Node = None
    given: Mapping[str, str] | None = None
    consequence: str | None = None
    done: str = "Asked for."
    back: str | None = None
    takes_reason: bool = False
    is_danger: bool = False


def button(view: View, act: Act) -> h.Node:
    """The form with its button; nothing for whom the endpoint would refuse."""
    if not view.may(operations()[act.operation].permission):
        return None
    form = h.form(".act", method="post", action=f"{ACTIONS}/{act.operation}")[
        h.input(type="hidden", name=ONCE, value=act.once),
        h.input(type="hidden", name=BACK, value=act.back or view.address),
        h.input(type="hidden", name=DONE, value=act.done),
        (h.input(type="hidden", name=IN_PATH + name, value=value) for name, value in (act.path or {}).items()),
        (h.input(type="hidden", name=name, value=value) for name, value in (act.given or {}).items()),
        act.consequence and h.p(".consequence")[act.consequence],
        act.fields,
        act.takes_reason and h.label["Reason", h.input(name=REASON, maxlength="500", placeholder="for the audit")],
        h.button(class_={"button": True, "danger": act.is_danger}, type="submit")[act.label],
    ]
    if act.consequence is None and not act.takes_reason and act.fields is None:
        return form
    # Where a part is sent anew, what is unfolded is found again by its id, whatever stands beside it then.
    its_id = f"ask-{token(act.operation, act.path, act.given, act.label)}"
    return h.details(".asks", id=its_id)[
        h.summary(class_={"button": True, "danger": act.is_danger})[f"{act.label} …"], form
    ]
