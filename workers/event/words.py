"""The words in which people are told of events, in chat: one line an event."""

from pgfleet.schema.feed.event import Event

# What a machine's row is called, with the columns that say which one it is; the first that it has is shown.
CALLED = {
    "reservation": ("Reservation", ("name",)),
    "disk": ("Disk", ("disk_name",)),
    "disk_snapshot": ("Snapshot of disk", ("disk_name",)),
    "disk_operation": ("What was asked of disk", ("disk_name",)),
    "assignment": ("Hopsworks seat", ("user_id",)),
    "node": ("Node", ("name",)),
    "cluster": ("Cluster", ("name",)),
    "cluster_node": ("Node of a cluster", ("name",)),
    "subscription": ("Subscription to", ("shown_url",)),
    "dead_letter": ("Dead letter of", ("queue",)),
    "outage": ("Outage of", ("dependency",)),
    "sweep": ("Sweep for silent rows of", ("machine",)),
    "hopsworks_cluster": ("Hopsworks cluster", ("name",)),
}
TEST = "This is a test of pgfleet: events come here."
SHORT = 8
REASON_LETTERS = 300
# What chat programs take for a link, a mention or markup.
_MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def line_of(event: Event) -> str:
    """As in `Reservation training (3f2a9c1e) of ada: active -> expired: its 4 hours are over`."""
    called, columns = CALLED.get(event.machine, (event.machine, ()))
    name = next((str(event.row[column]) for column in columns if event.row.get(column)), "")
    short = event.row_id[:SHORT]
    which = f" {name} ({short})" if name else f" {short}"
    whose = f" of {event.owner}" if event.owner else ""
    moved = event.to_status if event.from_status == "(new)" else f"{event.from_status} -> {event.to_status}"
    return _plain(f"{called}{which}{whose}: {moved}: {event.reason[:REASON_LETTERS]}")


def _plain(text: str) -> str:
    """On one line, and without markup: a name is its user's to choose."""
    return "".join(letter if letter.isprintable() else " " for letter in text).translate(_MARKUP)
