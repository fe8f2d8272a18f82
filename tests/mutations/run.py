"""Makes each mistake of the TOML files in a copy of the tree, runs the tests that should find it, writes RESULTS.md.

`make mutation-test`; NAMES="..." tries those alone whose names have one of these words, and writes nothing.
"""

import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))

from mutations.listed import Mutation, mutations  # noqa: E402 - found by the line before
from worlds.database import quick_server  # noqa: E402 - same

COPIES = 2
LONGEST_S = 600
TIMES = itertools.count(int(time.time()))
FOUND, SURVIVED = "found", "SURVIVED"
# What pytest says in the end, and of each test that did not pass.
TEST = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@contextmanager
def copy() -> Iterator[Path]:
    """The tree as it is here, without what git does not know."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory(prefix="pgfleet-mutated-") as folder:
        packed = subprocess.Popen(
            ["tar", "-c", "--null", "-T", "-"], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert packed.stdin
        unpacked = subprocess.Popen(["tar", "-x"], cwd=folder, stdin=packed.stdout)
        packed.stdin.write(names)
        packed.stdin.close()
        assert unpacked.wait() == packed.wait() == 0
        yield Path(folder)


def tested(tree: Path, dsn: str, tests: list[str]) -> tuple[int, str]:
    """pytest's code, and what it said."""
    environment = {**os.environ, "PYTHONPATH": str(tree / "src")}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=line", f"--postgres={dsn}"]
    try:
        done = subprocess.run(
            [*command, *tests],
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 2, f"{tests[0]} and others did not end within {LONGEST_S} s"
    return done.returncode, done.stdout + done.stderr


def tried(mutation: Mutation, tree: Path, dsn: str) -> tuple[str, str]:
    """The verdict, and the test that has found it; raises where the tests could not be run at all."""
    file = tree / mutation.file
    before = file.read_text(encoding="utf-8")
    assert before.count(mutation.old) == 1, (
        f"{mutation.name}: {mutation.file} has its text {before.count(mutation.old)} times"
    )
    _write(file, before.replace(mutation.old, mutation.new))
    try:
        code, said = tested(tree, dsn, mutation.tests)
    finally:
        _write(file, before)
    if code not in (0, 1):
        raise RuntimeError(f"{mutation.name}: pytest ended with {code}:\n{said[-2000:]}")
    found = TEST.search(said)
    return (FOUND, found[1] if found else "?") if code else (SURVIVED, "")


def _write(file: Path, text: str) -> None:
    """With a time of its own: by that, and its size, Python knows whether what it has compiled is still so."""
    file.write_text(text, encoding="utf-8")
    seconds = next(TIMES)
    os.utime(file, (seconds, seconds))


def main() -> int:
    words = os.environ.get("NAMES", "").split()
    chosen = [each for each in mutations() if not words or any(word in each.name for word in words)]
    results: dict[str, tuple[str, str]] = {}
    with quick_server() as dsn, ExitStack() as stack:
        trees: SimpleQueue[Path] = SimpleQueue()
        for _ in range(COPIES):
            trees.put(stack.enter_context(copy()))

        def attempt(mutation: Mutation) -> None:
            tree, began = trees.get(), time.monotonic()
            try:
                results[mutation.name] = tried(mutation, tree, dsn)
            except (RuntimeError, AssertionError) as error:
                results[mutation.name] = ("NOT TRIED", str(error))
            finally:
                trees.put(tree)
            print(  # noqa: T201 - a script
                f"{time.monotonic() - began:5.0f} s  {mutation.name}: {' '.join(results[mutation.name])}", flush=True
            )

        with ThreadPoolExecutor(COPIES) as threads:
            list(threads.map(attempt, chosen))
    if not words:
        write(results)
    missed = [name for name, (verdict, _) in results.items() if verdict != FOUND]
    print(f"{len(results) - len(missed)} of {len(results)} found")  # noqa: T201 - a script
    return 1 if missed else 0


def write(results: dict[str, tuple[str, str]]) -> None:
    commit = subprocess.run(
        ["git", "log", "-1", "--format=%h of %cs"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.strip()
    lines = [
        "# What tests say of mistakes made on purpose",
        "",
        "Each is made in a copy of the tree, and the tests that should find it are run (`make mutation-test`).",
        f"At {commit}: {sum(verdict == FOUND for verdict, _ in results.values())} of {len(results)} found.",
        "",
        "| the mistake | where | found by |",
        "|---|---|---|",
    ]
    for mutation in mutations():
        verdict, test = results[mutation.name]
        shown = f"`{test.rpartition('/')[2]}`" if verdict == FOUND else verdict
        lines.append(f"| {mutation.name} | `{mutation.file}` | {shown} |")
    (HERE / "RESULTS.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
