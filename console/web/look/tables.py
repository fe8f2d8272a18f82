"""Tables: columns by name, the filter in the address, the next page behind a link, words where there is nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

import htpy as h
from markupsafe import Markup
from pydantic import BaseModel

from pgfleet.console.web.look.writing import written


@dataclass(frozen=True)
class Column:
    """One column: its title, what a row has there, and whether it is a number."""

    title: str
    cell: Callable[[Any], h.Node]
    is_number: bool = False

    @cached_property
    def begin(self) -> str:
        """Of each cell, up to what is in it."""
        return written(h.td(class_={"number": self.is_number}, data_title=self.title)).removesuffix("</td>")


def table(columns: Sequence[Column], rows: Sequence[Any], empty: h.Node, caption: str = "") -> h.Node:
    """Rows under their columns; on a narrow screen each row is a block, in which each cell has its title."""
    if not rows:
        return h.p(".empty")[empty]
    return h.div(".scroll", tabindex="0", role="region", aria_label=caption or "Table")[
        h.table[
            caption and h.caption(".unseen")[caption],
            h.thead[h.tr[(h.th(scope="col", class_={"number": each.is_number})[each.title] for each in columns)]],
            h.tbody[(_row(columns, row) for row in rows)],
        ]
    ]


def _row(columns: Sequence[Column], row: Any) -> Markup:
    """Written at once: most of a page is cells, and elements for all of them take longer than what is in them."""
    cells = "".join(f"{each.begin}{written(_one(each.cell(row)))}</td>" for each in columns)
    return Markup(f"<tr>{cells}</tr>")  # noqa: S704  # written so that nobody's text reaches beyond itself


def _one(cell: h.Node) -> h.Node:
    """Several things are one, beside the title of the column where it is narrow."""
    return h.div[cell] if isinstance(cell, list | tuple) and any(cell) else cell


def filters(address: str, *fields: h.Node) -> h.Element:
    """A form whose fields are the query of the page: what is chosen can be sent to somebody as an address."""
    return h.form(".filters", method="get", action=address, role="search", aria_label="Filter")[
        fields, h.button(".button")["Filter"], h.a(href=address)["Clear"]
    ]


def choice(name: str, label: str, options: Sequence[str], chosen: str | None, every: str = "any") -> h.Element:
    """One of several values, or none."""
    return h.label[
        label,
        h.select(name=name)[
            h.option(value="")[every],
            (h.option(value=each, selected=each == chosen)[each] for each in options),
        ],
    ]


def words(name: str, label: str, value: str | None, **more: Any) -> h.Element:
    """A field for a line of text."""
    return h.label[label, h.input(name=name, value=value or "", autocomplete="off", maxlength="255", **more)]


def turning(address: str, asked: BaseModel | None, following: str | None) -> h.Node:
    """The links to the first page and to the next one, under the same filter."""
    given: Mapping[str, Any] = (
        {} if asked is None else asked.model_dump(exclude_none=True, exclude_defaults=True, mode="json")
    )
    kept = {name: value for name, value in given.items() if name != "cursor" and value not in ("", False)}
    first = address + (f"?{urlencode(kept)}" if kept else "")
    is_first = "cursor" not in given
    if is_first and following is None:
        return None
    return h.nav(".turning", aria_label="Pages")[
        not is_first and h.a(href=first)["First page"],
        following and h.a(href=f"{address}?{urlencode({**kept, 'cursor': following})}", rel="next")["Next page →"],
    ]
