"""Text that people and issuers send, before it goes to the database."""

from pgfleet.schema.errors import Refusal
from pgfleet.schema.printable import UNSTORABLE

LONGEST = 1000


def plain(name: str, text: str) -> str:
    """The text, if the database can hold it.

    Raises:
        Refusal: it has letters that are none, or too many; the text itself is not told.
    """
    if len(text) > LONGEST:
        raise Refusal(f"{name}: must have at most {LONGEST} characters.")
    if UNSTORABLE.search(text):
        raise Refusal(f"{name}: has letters that are none.")
    return text
