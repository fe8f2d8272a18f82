"""Who may send what, as a table that people read: made from the contracts of all kinds (`make generated`)."""

from pathlib import Path

from pgfleet.schema.asking import Role, Whose
from pgfleet.schema.kinds import Contract, contracts

PAGE = Path(__file__).parents[1] / "messages" / "WHO_MAY_SEND.md"
HEAD = """# Who may send what

Made by `make generated` from the contracts in `schema/`; a test tries each line with real logins. The door of a queue
stamps who asks into a message (`schema/105_door.sql`), and workers refuse what this table does not list. What is not in
it, such as tickets and sweeps, is sent by workers only.

| queue | action | {roles} |
|---|---|{lines}|
"""
WORDS = {
    Whose.ANY: "of anybody",
    Whose.OWN: "own",
    Whose.PROVEN: "with its node's proof",
    Whose.NOBODYS: "-",
}


def render() -> str:
    head = HEAD.format(roles=" | ".join(role.value for role in Role), lines="|".join("---" for _ in Role))
    return head + "".join(_rows(contract) for contract in contracts().values())


def _rows(contract: Contract) -> str:
    may = " | ".join(WORDS[contract.may.get(role, Whose.NOBODYS)] for role in Role)
    return "".join(f"| `{contract.queue}` | `{action}` | {may} |\n" for action in sorted(contract.actions))


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
