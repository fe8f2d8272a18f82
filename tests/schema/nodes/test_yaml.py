"""What is no configuration is refused by where and why, whatever it would unfold to, and is quoted nowhere."""

import hashlib
import time

import pytest

from pgfleet.schema.nodes.configurations import BadConfiguration, Configuration, read

SECRET = "hunter2"  # noqa: S105  # to be looked for
LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
MERGES = "a0: &a0 {k: v}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12))
KIB = 1024


def why_not(given: bytes | str) -> str:
    with pytest.raises(BadConfiguration) as refused:
        read(given)
    return str(refused.value)


BAD = {
    "": "must be a mapping",
    "just text": "must be a mapping",
    "- 1": "must be a mapping",
    "a: 1\n---\nb: 2": "another begins (line 2, column 1)",
    "a:\n\tb: 1": "(line 2, column 1)",
    "a: [1": "did not find expected",
    "a: *nobody": "undefined alias",
    "a: &a [*a]": "(line 1, column 4)",
    "a: 1\na: 2": "a key is there twice (line 2, column 1)",
    "? {b: 1}\n: 1": "unhashable",
    "a: !!python/object/apply:os.system [id]": "(line 1, column 4)",
    "a: !mine 1": "(line 1, column 4)",
    "a: 2027-99-99": "a date or a number that can't be",
    f"a: {'9' * 5000}": "more than 100 digits (line 1, column 4)",
    f"a: 1{':59' * 5000}": "more than 100 digits (line 1, column 4)",
    "a: " + "[" * 60 + "]" * 60: "nested more than 50 deep",
    "a: " + "[" * 200_000: "nested more than 50 deep",
    "a: \0": "characters that YAML does not allow",
    "a: \x07": "characters that YAML does not allow",
    "a: \ud800": "it is not UTF-8",
    LAUGHS: "its aliases unfold to more than 100,000 values",
    MERGES: "its aliases unfold to more than 100,000 values",
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: ascii(text[:20]))
def test_a_text_that_can_not_be_used_is_refused_with_where_and_why(text: str) -> None:
    assert BAD[text] in why_not(text)


@pytest.mark.parametrize(
    "bomb", [LAUGHS, MERGES, "a: " + "[" * 200_000, f"a: 1{':59' * 80_000}"], ids=lambda text: ascii(text[:20])
)
def test_a_bomb_costs_no_more_than_a_few_large_files(bomb: str) -> None:
    long_text = "a:\n" + "".join(f"  k{n}: {n}\n" for n in range(15_000))
    started_s = time.process_time()
    read(long_text)
    long_s = time.process_time() - started_s

    started_s = time.process_time()
    why_not(bomb)

    assert time.process_time() - started_s < 5 * long_s


@pytest.mark.parametrize(
    "given",
    ["a: ö".encode("utf-16"), "a: ö".encode("latin-1"), b"\xff\xfea\x00", b"a: \xed\xa0\x80"],
)
def test_what_is_not_utf_8_is_refused(given: bytes) -> None:
    assert why_not(given).startswith("yaml_config: it")


@pytest.mark.parametrize("size", [256 * KIB + 1, 10 * KIB * KIB])
def test_a_text_that_is_too_large_is_not_read(size: int) -> None:
    assert why_not(b"#" * size) == f"yaml_config: it has {size:,} bytes, and may have 256 KiB"


@pytest.mark.parametrize(
    "text",
    [f"password: {SECRET}\n\tx", f"password: [{SECRET}", f"{SECRET}: 1\n{SECRET}: 2", f"pools: {SECRET}"],
)
def test_a_refusal_quotes_no_value_of_the_text(text: str) -> None:
    assert SECRET not in why_not(text)


def test_a_good_text_is_kept_letter_by_letter_with_the_hash_of_it() -> None:
    text = "\ufeff# né\r\npools: []\r\n"

    found = read(text.encode())

    assert found == Configuration(text, hashlib.sha256(text.encode()).hexdigest(), {})
    assert read(text) == found


def test_the_largest_text_and_a_few_aliases_are_read() -> None:
    head = "base: &base {a: 1}\nmine:\n  <<: *base\n  b: 2\nlist: [*base, *base]\n"

    found = read(head + "#" * (256 * KIB - len(head)))

    assert found.limits == {}


def test_limits_of_pools_are_read_by_either_name_of_a_pool() -> None:
    found = read(
        "pools:\n"
        "  - {instance_pool_id: a, scaling_limits: {min: 1, max: 10}}\n"
        "  - {oracle_pool_id: b, scaling_limits: {max: 3}}\n"
        "  - {instance_pool_id: c, thresholds: {cpu: 80}}\n"
        "  - {instance_pool_id: d, scaling_limits: }\n"
    )

    assert found.limits == {"a": {"min": 1, "max": 10}, "b": {"max": 3}}


ODD_LIMITS = {
    "pools: {a: 1}": "pools: must be a list",
    "pools: [a]": "pools[0]: must be a mapping",
    "pools: [{scaling_limits: {min: 1}}]": "pools[0]: has scaling_limits, and no instance_pool_id",
    "pools: [{instance_pool_id: 7, scaling_limits: {min: 1}}]": "no instance_pool_id that says whose they are",
    "pools: [{instance_pool_id: a, scaling_limits: 3}]": "pools[0].scaling_limits: must be a mapping of min and max",
    "pools: [{instance_pool_id: a, scaling_limits: {}}]": "must be a mapping of min and max",
    "pools: [{instance_pool_id: a, scaling_limits: {mn: 1}}]": "a key is not known; did you mean min",
    "pools: [{instance_pool_id: a, scaling_limits: {min: -1}}]": "scaling_limits.min: must be a whole number from 0",
    "pools: [{instance_pool_id: a, scaling_limits: {max: 1.5}}]": "scaling_limits.max: must be a whole number",
    "pools: [{instance_pool_id: a, scaling_limits: {max: yes}}]": "scaling_limits.max: must be a whole number",
    "pools: [{instance_pool_id: a, scaling_limits: {max: 1000001}}]": "to 1,000,000",
    "pools: [{instance_pool_id: a, scaling_limits: {min: 5, max: 3}}]": "min must not be above max",
    "pools: [{oracle_pool_id: a, scaling_limits: {min: 1}}, {instance_pool_id: a, scaling_limits: {min: 2}}]": "[1]",
}


@pytest.mark.parametrize("text", ODD_LIMITS)
def test_limits_that_can_not_be_are_refused_and_not_ignored(text: str) -> None:
    assert ODD_LIMITS[text] in why_not(text)
