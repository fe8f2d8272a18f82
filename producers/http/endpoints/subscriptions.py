"""`/v1/subscriptions`: who is told of which events, how deliveries fare, and what a user asks of one."""

from typing import Annotated, Any

from pydantic import Field

from pgfleet.producers import event as producer
from pgfleet.producers.http.endpoint import (
    Answer,
    Audit,
    Call,
    Endpoint,
    NotFoundError,
    NotPermittedError,
    Shape,
    Waiting,
)
from pgfleet.producers.http.paging import Listing, paged
from pgfleet.producers.http.sending import Asks, accepted, asked, for_whom, said
from pgfleet.producers.http.shapes.events import Delivery, MadeSubscription, Subscription
from pgfleet.producers.http.shapes.shown import Page
from pgfleet.schema.asking import Whose
from pgfleet.schema.event import QUEUE, Format, Position, Request, Resume, SendAgain, Status, Test, Unsubscribe, Words
from pgfleet.schema.feed.known import refuse_strange
from pgfleet.schema.messages import Name, Uuid
from pgfleet.schema.reads.event import subscription as reads
from pgfleet.schema.reads.pages import event as pages
from pgfleet.schema.rows.row import Row

PATH = "/v1/subscriptions"
ONE = f"{PATH}/{{id}}"
READ, WRITE = "subscriptions.read", "subscriptions.write"
MACHINE = "subscription"


class NewSubscription(Shape):
    """Which events, and where to: `https` and public, unless who runs pgfleet allows more."""

    url: Annotated[str, Field(min_length=1, max_length=producer.MOST_LETTERS, pattern=r"^https?://\S+$")]
    format: Format = Format.CLOUDEVENTS
    machines: Words | None = None
    states: Words | None = None
    of_user: Name | None = None
    row_id: Name | None = None
    user_id: Name | None = None
    subscription_id: Uuid | None = None


class SubscriptionFilter(Listing):
    """`user_id` of another is an operator's to name."""

    user_id: Name | None = None
    status: Status | None = None


class Again(Shape):
    """`after` is a position in the feed, such as a delivery has: all that came after it is sent once more."""

    after: Position


def href(subscription_id: str) -> str:
    return f"{PATH}/{subscription_id}"


def found(call: Call) -> Row:
    """The subscription in the path.

    Raises:
        NotFoundError: there is none that this principal may see.
    """
    given = call.path["id"]
    row = reads.by_id(call.conn, given)
    if row is None:
        raise NotFoundError(f"there is no subscription {given[:40]}")
    call.must_see(row["user_id"], f"subscription {given[:40]}")
    return row


def create_subscription(call: Call) -> Answer:
    given = said(call.body)
    user, url = for_whom(call, given.pop("user_id", None)), given.pop("url")
    if call.whose != Whose.ANY and given.get("of_user") not in (None, user):
        raise NotPermittedError("of_user: you may see events of nobody else")
    refuse_strange(call.conn, given.get("machines"), given.get("states"))
    made = producer.subscribe(user, url, call.conn, **given)
    row = reads.by_id(call.conn, made.subscription_id)
    body = {"id": made.subscription_id, "href": href(made.subscription_id), "secret": made.secret}
    headers = {"Location": body["href"]}
    return Answer(body, headers=headers, about=made.subscription_id, name=row["shown_url"] if row else None)


def list_subscriptions(call: Call) -> Answer:
    wanted = call.asked(SubscriptionFilter)
    user = for_whom(call, wanted.user_id) if wanted.user_id or call.owner else None
    return paged(pages.listed(call.conn, user, wanted.status, wanted.wanted))


def get_subscription(call: Call) -> Answer:
    row = found(call)
    return Answer(row, about=row["subscription_id"])


def list_deliveries(call: Call) -> Answer:
    return paged(pages.deliveries(call.conn, found(call)["subscription_id"], call.asked(Listing).wanted))


def end_subscription(call: Call) -> Answer:
    return _ask(call, Unsubscribe)


def resume_subscription(call: Call) -> Answer:
    return _ask(call, Resume)


def send_test_event(call: Call) -> Answer:
    return _ask(call, Test)


def send_events_again(call: Call) -> Answer:
    return _ask(call, SendAgain, after=call.given(Again).after)


def _ask(call: Call, model: type[Request], **more: Any) -> Answer:
    row = found(call)
    asked(call, QUEUE, model, {"subscription_id": row["subscription_id"], "user_id": row["user_id"], **more})
    return accepted(row["subscription_id"], href(row["subscription_id"]), row["shown_url"])


_asks = Asks(WRITE, QUEUE, MACHINE, "SYSTEM")
ENDPOINTS = (
    Endpoint(
        "POST",
        PATH,
        "Have events sent to an address from now on. The secret that they are signed with is shown this once",
        WRITE,
        create_subscription,
        MadeSubscription,
        NewSubscription,
        status=202,
        audit=Audit("SUBSCRIPTION_CREATED", "SYSTEM", MACHINE),
        lost="End it (DELETE /v1/subscriptions/{id}) and make another, with another Idempotency-Key.",
        refuses=(422,),
        queue=QUEUE,
        example={"url": "https://example.org/hook", "machines": ["reservation"], "states": ["active", "failed"]},
    ),
    Endpoint(
        "GET",
        PATH,
        "Subscriptions, the newest first",
        READ,
        list_subscriptions,
        Page[Subscription],
        asks=SubscriptionFilter,
    ),
    Endpoint(
        "GET",
        ONE,
        "One subscription: up to where it was delivered, and how",
        READ,
        get_subscription,
        Subscription,
        asks=Waiting,
        refuses=(404,),
        machine=MACHINE,
    ),
    _asks("DELETE", ONE, "Have no more sent", "ENDED", end_subscription),
    _asks("POST", f"{ONE}/resume", "Go on with one that is off, where it was", "RESUMED", resume_subscription),
    _asks("POST", f"{ONE}/test", "Have one event sent that says that it is a test", "TESTED", send_test_event),
    _asks(
        "POST",
        f"{ONE}/send-again",
        "Have all that came after a position sent once more",
        "SENT_AGAIN",
        send_events_again,
        Again,
        {"after": "1.0.0"},
    ),
    Endpoint(
        "GET",
        f"{ONE}/deliveries",
        "Its last deliveries, the newest first: how often tried, what was answered, when again",
        READ,
        list_deliveries,
        Page[Delivery],
        asks=Listing,
        refuses=(404,),
    ),
)
