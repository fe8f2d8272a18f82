"""What a node should run, on its page: history, what differs, drift, and a new one."""

from collections.abc import Iterator

import pytest

from pgfleet.console.web.look.lines import MOST_LINES, differing
from pgfleet.schema.nodes import configurations
from worlds.heartbeats import Heart, heart_in
from worlds.web.site import Site

ONE = "pools: []\nkept: 1\ninterval: 30\n"
TWO = "pools: []\nkept: 1\ninterval: 60\nextra: yes\n"


@pytest.fixture
def heart(dsn: str) -> Iterator[Heart]:
    with heart_in(dsn) as heart:
        yield heart


def kept(heart: Heart, node: int, text: str) -> configurations.Kept:
    return configurations.add(heart.conn, node, configurations.read(text))


def test_a_new_configuration_is_kept_letter_by_letter_and_drifts_until_it_is_reported(site: Site, heart: Heart) -> None:
    node = heart.node("rack-7")
    ops = site.signed_in("ops", "DEVOPS")
    place = f"/nodes/{node}/configuration"

    # As browsers send the lines of a form.
    done = ops.press(ops.get(place), "/do/add_configuration", yaml=ONE.replace("\n", "\r\n"), reason="first")
    heart.hear(node)
    drifting = ops.get(place).text
    heart.hear(node, config_hash=configurations.read(ONE).hash)
    settled = ops.get(place).text

    assert done.headers["location"] == place
    assert configurations.text_of(heart.conn, node) == ONE
    assert "It drifts" in drifting
    assert "It runs what it should" in settled


def test_what_differs_is_shown_line_by_line_and_an_earlier_one_is_made_active_again(site: Site, heart: Heart) -> None:
    node = heart.node("rack-7")
    first, _ = kept(heart, node, ONE), kept(heart, node, TWO)
    ops = site.signed_in("ops", "DEVOPS")

    page = ops.get(f"/nodes/{node}/configuration?id={first.id}")
    ops.press(page, "/do/activate_configuration", reason="it was better")

    assert '<span class="removed">- interval: 60</span>' in page.text
    assert '<span class="added">+ interval: 30</span>' in page.text
    assert configurations.text_of(heart.conn, node) == ONE
    assert ops.get(f"/nodes/{node}/configuration?id=999").status_code == 404


def test_a_text_that_is_no_yaml_is_refused_and_not_lost(site: Site, heart: Heart) -> None:
    node = heart.node("rack-7")
    ops = site.signed_in("ops", "DEVOPS")
    wrong = "pools: [\n" + "# a long text\n" * 5000

    refused = ops.press(ops.get(f"/nodes/{node}/configuration"), "/do/add_configuration", yaml=wrong)

    assert refused.status_code == 400
    assert "it is no YAML" in refused.text
    assert "# a long text" in refused.text
    assert f'href="/nodes/{node}/configuration"' in refused.text


def test_a_configuration_is_shown_harmlessly(site: Site, heart: Heart) -> None:
    node = heart.node("rack-7")
    first = kept(heart, node, "a: '</pre></textarea><script>alert(1)</script>'\n")
    kept(heart, node, ONE)
    ops = site.signed_in("ops", "DEVOPS")

    assert "<script>alert" not in ops.get(f"/nodes/{node}/configuration?id={first.id}").text


def test_lines_that_are_the_same_are_passed_over_but_for_some_around_what_differs() -> None:
    before = "\n".join(map(str, range(100)))
    after = before.replace("\n50\n", "\nfifty\n")

    assert differing(before, after) == (
        ("passed", "47 lines the same"),
        *(("same", line) for line in ("47", "48", "49")),
        ("removed", "50"),
        ("added", "fifty"),
        *(("same", line) for line in ("51", "52", "53")),
        ("passed", "46 lines the same"),
    )


def test_what_can_not_be_compared_in_a_moment_is_told_by_its_size() -> None:
    many = MOST_LINES + 1

    lines = differing("a\n" * many, "b\n" * many)

    assert lines == (("passed", f"{many:,} lines become {many:,} lines: too many to compare"),)
