"""The references of settings and messages are those of the code, and their examples are taken as they stand."""

import json
import re
import runpy
from importlib import import_module

import pytest

from pgfleet.schema.kinds import contracts
from worlds.fleet import REPOSITORY

PAGES = {"settings": REPOSITORY / "deploy/SETTINGS.md", "messages": REPOSITORY / "deploy/MESSAGES.md"}


@pytest.mark.parametrize("name", PAGES)
def test_the_reference_is_that_of_the_code(name: str) -> None:
    page = runpy.run_path(str(REPOSITORY / f"deploy/reference/{name}.py"))["page"]

    assert page() == PAGES[name].read_text("utf-8"), "run make generated"


@pytest.mark.parametrize("kind", contracts())
def test_each_example_is_a_message_that_a_worker_reads(kind: str) -> None:
    contract = contracts()[kind]
    (section,) = re.findall(
        rf"^## `{contract.queue}`\n(.*?)(?=^## |\Z)", PAGES["messages"].read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    read = import_module(f"pgfleet.schema.{kind}").read

    found = [read(json.loads(text)) for text in re.findall(r"```json\n(.+)\n```", section)]

    assert {type(each) for each in found} == set(contract.requests.values())
