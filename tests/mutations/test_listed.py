"""The list of mutations is one of the tree as it is."""

from collections import Counter

import pytest

from mutations.listed import Mutation, mutations
from worlds.fleet import REPOSITORY


@pytest.mark.parametrize("mutation", mutations(), ids=lambda mutation: mutation.name)
def test_each_mutation_has_one_place_and_tests(mutation: Mutation) -> None:
    text = (REPOSITORY / mutation.file).read_text(encoding="utf-8")

    assert text.count(mutation.old) == 1
    assert mutation.old != mutation.new
    assert mutation.tests
    assert all((REPOSITORY / test).exists() for test in mutation.tests)


def test_no_two_have_one_name() -> None:
    assert [name for name, number in Counter(each.name for each in mutations()).items() if number > 1] == []
