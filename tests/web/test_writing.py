"""HTML as it is written here, beside what htpy writes of the same elements."""

from collections.abc import Callable

import htpy as h
import pytest
from markupsafe import Markup

from pgfleet.console.web.look.writing import kept, written

NODES: dict[str, Callable[[], h.Node]] = {
    "text": lambda: "a < b & \"c\" 'd'",
    "nothing": lambda: [None, True, False, "", 0, [], h.p],
    "numbers": lambda: [1, -2, h.td[3]],
    "attributes": lambda: h.a("#id.one", {"hx-swap": "none", "@x": "<"}, href='/?a=1&b="2"', hidden=True)["x"],
    "void": lambda: [h.input(value="<"), h.br, h.img(alt='"')],
    "nested": lambda: h.div[h.ul[(h.li[each] for each in ("<", Markup("<b>"), None))], [[h.i["x"], ("y",)]]],
    "document": lambda: h.html(lang="en")[h.head[h.title["<"]], h.body["&"]],
    "script": lambda: h.script["a && b < c"],
    "fragment": lambda: h.fragment["<", h.b["x"]],
    "comment": lambda: h.comment("-->"),
    "later": lambda: h.p[lambda: h.b["<"]],
}


@pytest.mark.parametrize("name", NODES)
def test_it_is_what_htpy_writes(name: str) -> None:
    node = NODES[name]

    assert written(node()) == str(h.fragment[node()])


def test_what_is_kept_is_escaped_once() -> None:
    assert written(h.p[kept(h.b["a < b"])]) == "<p><b>a &lt; b</b></p>"


@pytest.mark.parametrize("sign", ["\u202e", "\u2066", "\u061c", "\u200f"])
def test_a_sign_that_turns_text_around_is_no_part_of_it(sign: str) -> None:
    assert written(h.p[f"fine{sign}txt.exe"]) == "<p>fine\N{REPLACEMENT CHARACTER}txt.exe</p>"
