"""Reading YAML of people: one document, a mapping, of a bounded size however its aliases unfold, and no key twice."""

from typing import Any

import yaml

from pgfleet.schema.errors import FleetError

try:
    from yaml import CSafeLoader as Loader
except ImportError:  # a PyYAML without libyaml
    from yaml import SafeLoader as Loader  # type: ignore[assignment]

BYTES_LIMIT = 262_144
DEPTH_LIMIT = 50
# Values after all aliases are unfolded.
VALUES_LIMIT = 100_000
DIGITS_LIMIT = 100
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_MERGE = "tag:yaml.org,2002:merge"


class BadYaml(FleetError):
    """The text can't be used; the message says where and why, and quotes none of it."""


def decoded(given: bytes | str) -> str:
    """The text of a file or a request.

    Raises:
        BadYaml: it is too large, or no UTF-8.
    """
    try:
        raw = given.encode() if isinstance(given, str) else given
        if len(raw) > BYTES_LIMIT:
            raise BadYaml(f"it has {len(raw):,} bytes, and may have {BYTES_LIMIT // 1024} KiB")
        return raw.decode()
    except UnicodeError:
        raise BadYaml("it is not UTF-8") from None


def mapping_of(text: str) -> dict[Any, Any]:
    """What a text of one document says.

    Raises:
        BadYaml: it is no YAML, or not as it should be.
    """
    try:
        _bound(text)
        loader = Loader(text)
        try:
            root = loader.get_single_node()
            if not isinstance(root, yaml.MappingNode):
                raise BadYaml("it must be a mapping, such as `pools: []`")
            _unfold(root)
            return dict(loader.construct_document(root))
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise BadYaml(_said(error)) from None
    except yaml.YAMLError:
        raise BadYaml("it has characters that YAML does not allow") from None
    except ValueError:
        raise BadYaml("it has a date or a number that can't be") from None


def _bound(text: str) -> None:
    """By its events, of which no number is held: what is nested too deep is never composed."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_LIMIT:
                raise BadYaml(f"it is nested more than {DEPTH_LIMIT} deep{_at(event.start_mark)}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise BadYaml(f"it must be one document, and another begins{_at(event.start_mark)}")


def _unfold(root: yaml.Node) -> None:
    """Count what there is once all aliases are unfolded; before anything is made of it, as merge keys copy."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        known = sizes.get(id(node))
        if known is not None:
            return known
        if id(node) in open_nodes:
            raise BadYaml(f"an alias names what it is in{_at(node.start_mark)}")
        open_nodes.add(id(node))
        _check(node)
        found = 1 + sum(size(part) for part in _parts(node))
        if found > VALUES_LIMIT:
            raise BadYaml(f"its aliases unfold to more than {VALUES_LIMIT:,} values")
        open_nodes.discard(id(node))
        sizes[id(node)] = found
        return found

    size(root)


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _check(node: yaml.Node) -> None:
    if isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS and len(node.value) > DIGITS_LIMIT:
        raise BadYaml(f"a number has more than {DIGITS_LIMIT} digits{_at(node.start_mark)}")
    if not isinstance(node, yaml.MappingNode):
        return
    seen = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
            if (key.tag, key.value) in seen:
                raise BadYaml(f"a key is there twice{_at(key.start_mark)}")
            seen.add((key.tag, key.value))


def _said(error: yaml.MarkedYAMLError) -> str:
    """The parser's own words; `problem` may hold a name of an anchor or a tag, and never a value."""
    return f"it is no YAML that is read here: {(error.problem or 'unreadable')[:200]}{_at(error.problem_mark)}"


def _at(mark: Any) -> str:
    return "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"
