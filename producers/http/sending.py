"""How an endpoint sends: the message of a body, for whom the principal may ask, through the door of its queue."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID, uuid5

from pydantic import BaseModel

from pgfleet.producers.http.endpoint import Answer, Audit, Call, Category, Endpoint, Method, NotPermittedError
from pgfleet.producers.http.shapes.shown import Accepted
from pgfleet.producers.sending import put
from pgfleet.schema.asking import Whose
from pgfleet.schema.messages import Message, checked

M = TypeVar("M", bound=Message)
# Of names of ours: whoever chooses a UUID by hand never meets it.
_NAMESPACE = UUID("b6a1a2f0-5b0c-5a43-9a57-7e0b1f0f6a2d")


@dataclass(frozen=True, slots=True)
class Asks:
    """Makes the endpoints that send what is asked of one sort of thing: `202`, and a row of the audit."""

    permission: str
    queue: str
    resource: str
    category: Category
    refuses: tuple[int, ...] = (404,)

    def __call__(  # noqa: PLR0913  # as an endpoint has them
        self,
        method: Method,
        path: str,
        does: str,
        done: str,
        handle: Callable[[Call], Answer],
        takes: type[BaseModel] | None = None,
        example: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Endpoint:
        """`done`: what the audit calls it, after the resource; `more` are further words of an endpoint."""
        audit = Audit(f"{self.resource.upper()}_{done}", self.category, self.resource)
        words = {"refuses": self.refuses, "queue": self.queue, "example": example, **more}
        return Endpoint(method, path, does, self.permission, handle, Accepted, takes, status=202, audit=audit, **words)


def said(body: BaseModel | None) -> dict[str, Any]:
    """The fields that the client has given; those that it has not are the message's own to fill."""
    return {} if body is None else body.model_dump(mode="json", exclude_unset=True)


def for_whom(call: Call, given: str | None) -> str:
    """The user for whom something is asked: the principal, unless it may name another.

    Raises:
        NotPermittedError: it names another, and may not.
    """
    user = given or call.principal.username
    if call.whose != Whose.ANY and user != call.principal.username:
        raise NotPermittedError("user_id: you may ask for nobody else")
    return user


def id_for_key(username: str, key: str) -> str:
    """The `request_id` of what a principal asks of a row with an Idempotency-Key: no two principals have the same.

    Whoever knows name and key can work it out, so no new row has it as its id: another might take that beforehand.
    """
    return str(uuid5(uuid5(_NAMESPACE, username), key))


def asked(call: Call, queue: str, model: type[M], fields: Mapping[str, Any]) -> M:
    """Send a message about a row that there is; with an Idempotency-Key the worker, too, does it once."""
    given = dict(fields)
    if call.key is not None and "request_id" in model.model_fields:
        given.setdefault("request_id", id_for_key(call.principal.username, call.key))
    message = checked(model, given)
    put(call.conn, queue, message)
    return message


def accepted(row_id: str, href: str, name: str | None = None) -> Answer:
    """`202`, with the id and where to look."""
    return Answer({"id": row_id, "href": href}, headers={"Location": href}, about=row_id, name=name)
