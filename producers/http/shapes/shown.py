"""What all answers have in common."""

from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")


class Shown(BaseModel):
    """Part of an answer: what it does not name is left out."""

    model_config = ConfigDict(frozen=True, extra="ignore", json_schema_extra={"additionalProperties": False})


class Accepted(Shown):
    """A message was sent, in the transaction of the audit; a worker does the rest."""

    id: str
    href: Annotated[str, Field(description="Where to look what became of it.")]


class Page(Shown, Generic[T]):
    """A part of a list; `next` is the cursor of what follows, null at the end."""

    items: list[T]
    next: str | None = None


class Move(Shown):
    """One line of a history."""

    at: datetime
    what: str
    why: str | None = None


Json = dict[str, Any]
