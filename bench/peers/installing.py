"""The peers' own environment, of the newest Python here that all of them run on."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PINNED = ROOT / "bench" / "peers.txt"
VENV = ROOT / ".venv-peers"
PYTHON = str(VENV / "bin" / "python")
# The newest first; the program's own is what is left if none of them is here.
WANTED = ((3, 13), (3, 12))
ASK = "import sys; print(*sys.version_info[:2])"


def install() -> None:
    """Make it anew when the pinned versions, or the Python, have changed."""
    python, stamp = newest(), VENV / "made-of"
    made_of = f"{python}\n{PINNED.read_text('utf-8')}"
    if stamp.exists() and stamp.read_text("utf-8") == made_of:
        return
    print(f"installing the peers into {VENV}", file=sys.stderr)
    _run(python, "-m", "venv", "--clear", str(VENV))
    _run(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(PINNED))
    stamp.write_text(made_of, "utf-8")


@cache
def newest() -> str:
    """The program of the newest wanted Python that runs: on the path, or one that pyenv keeps."""
    for wanted in WANTED:
        for program in _programs(*wanted):
            if version_of(program) == wanted:
                return program
    return sys.executable


def version_of(program: str) -> tuple[int, int] | None:
    """Such as (3, 12); none where it does not run, as what pyenv puts on the path for a Python that is not chosen."""
    asked = subprocess.run([program, "-c", ASK], capture_output=True, text=True, check=False)  # noqa: S603  # a Python
    if asked.returncode:
        return None
    major, minor = asked.stdout.split()
    return int(major), int(minor)


def _programs(major: int, minor: int) -> Iterator[str]:
    if sys.version_info[:2] == (major, minor):
        yield sys.executable
    if found := shutil.which(f"python{major}.{minor}"):
        yield found
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from (str(path) for path in sorted(pyenv.glob(f"versions/{major}.{minor}.*/bin/python")))


def _run(*command: str) -> None:
    subprocess.run(command, check=True)  # noqa: S603  # our own commands
