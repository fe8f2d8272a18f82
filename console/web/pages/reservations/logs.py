"""The logs of a reservation, as a piece of its page: it asks for the next chunk itself."""

from urllib.parse import urlencode

import htpy as h

from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.producers.http.endpoints.logs import After, get_logs

# A pod answers in a moment; then it is asked for more now and then.
SOON, LATER = "load delay:400ms", "load delay:3s"


def reservation_logs(view: View) -> Screen:
    """What is there, and behind it the place of what follows."""
    told = get_logs(view.having("reservations.read")).body
    text, cursor = told["text"], told["cursor"]
    following = cursor and h.div(
        {
            "hx-get": f"{view.address}?{urlencode({'cursor': cursor})}",
            "hx-trigger": SOON if told["has_more"] or text is None else LATER,
            "hx-swap": "outerHTML",
        }
    )
    if text is None and following is None:
        return Screen("Logs", [Part("text", h.p(".dim")[f"Nothing is written: {told['ended'] or 'nothing is kept'}."])])
    return Screen("Logs", [Part("text", [text and h.pre(".logs")[text], following])])


PAGES = (Page("/reservations/{id}/logs", "Logs", "reservations.read", reservation_logs, asks=After, is_fragment=True),)
