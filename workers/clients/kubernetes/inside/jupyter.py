"""Jupyter inside a pod: started and stopped by a script, which reads the token where no API server writes it down.

start:  its own is there, with this token ------------------------> wait until the port is open -> running
        its own is there, with another token: ended first ---+            | not in time: slow
        the port is somebody else's: taken                   |            | ended meanwhile: failed
        no `jupyter` in the image: missing                   +-> started -+
look:   its port is open, and it lives, as far as is known: running; else ended, with the last that it wrote
"""

import re
from dataclasses import dataclass

from pgfleet.schema.printable import cut, printable
from pgfleet.workers.clients.kubernetes.exec import Bounds, Commands
from pgfleet.workers.clients.kubernetes.manifest import JUPYTER_PORT
from pgfleet.workers.clients.kubernetes.names import HOME
from pgfleet.workers.runtime.outcomes import TryAgainError

START, LOOK, STOP = "pgfleet-jupyter-start", "pgfleet-jupyter-look", "pgfleet-jupyter-stop"
FOLDER = "/tmp/.pgfleet-jupyter"  # noqa: S108  # in the pod, which is one user's
# How long its port is waited for, and the whole command.
PORT_S, COMMAND_S = 20, 30.0
ANSWER_BYTES = 4096
LONGEST_LINE = 300
RUNNING, ENDED = "running", "ended"
# What no other try would change: the image, or the user's own programs have to.
FOR_GOOD = {
    "missing": "there is no `jupyter` in its image",
    "taken": f"something else in the pod has port {JUPYTER_PORT} already",
}


@dataclass(frozen=True, slots=True)
class Started:
    """Why it does not run, None where it does; and whether another try may help."""

    trouble: str | None = None
    again: bool = False


def start(commands: Commands, pod: str, token: str) -> Started:
    """Have Jupyter run in a pod with this token; where it does already, nothing happens."""
    try:
        written = _run(commands, pod, start_script(), START, f"{token}\n")
    except TryAgainError as error:
        return Started(str(error).replace(token, "***"), again=True)
    said, _, more = written.strip().partition("\n")
    if said == RUNNING:
        return Started()
    if said in FOR_GOOD:
        return Started(FOR_GOOD[said])
    if said == "slow":
        return Started(f"it does not answer within {PORT_S} seconds", again=True)
    return Started(_with_line("it ended at once", more or said, token))


def ended(commands: Commands, pod: str, token: str) -> str | None:
    """How it has ended since it was started; None where it runs, or where that can't be seen.

    Only what the script itself says counts: of an answer that is cut short, or of another's, nothing is known.
    """
    try:
        written = _run(commands, pod, look_script(), LOOK)
    except TryAgainError:
        return None
    said, _, more = written.strip().partition("\n")
    return _with_line("it has ended", more, token) if said == ENDED else None


def _with_line(told: str, line: str, token: str) -> str:
    """With whatever a program of the user's may have written there."""
    line = cut(printable(line), LONGEST_LINE).replace(token, "***")
    return f"{told}: {line}" if line else told


def stop(commands: Commands, pod: str) -> str | None:
    """Have it run no more; why that can't be said, None where it does not run."""
    try:
        _run(commands, pod, stop_script(), STOP)
    except TryAgainError as error:
        return str(error)
    return None


def _run(commands: Commands, pod: str, script: str, purpose: str, typed: str = "") -> str:
    """What the script wrote. `purpose` is its name for itself ($0), as lists of processes show it."""
    command = ("/bin/sh", "-c", script, purpose)
    return commands.run(pod, command, Bounds(COMMAND_S, ANSWER_BYTES), typed.encode()).decode("utf-8", "replace")


def start_script(port: int = JUPYTER_PORT, folder: str = FOLDER, home: str = HOME) -> str:
    """Only what any image has: a shell, and the kernel's list of open ports."""
    return _without_indent(f"""
        umask 077
        IFS= read -r token || exit 1
        {_looks(port)}
        mkdir -p {folder} && cd {folder} || exit 1
        pid=$(cat pid 2>/dev/null)
        if lives && [ "$(cat token 2>/dev/null)" != "$token" ]; then
          kill "$pid"
          n=0
          while open && [ $n -lt 5 ]; do sleep 1; n=$((n + 1)); done
          pid=
        fi
        if ! lives; then
          if open; then echo taken; exit; fi
          if ! command -v jupyter >/dev/null; then echo missing; exit; fi
          program=notebook
          if jupyter lab --version >/dev/null 2>&1; then program=lab; fi
          printf %s "$token" >token
          there={home}; [ -d $there ] || there=/workspace; [ -d $there ] || there=/
          cd $there
          JUPYTER_TOKEN=$token nohup jupyter $program --ip='*' --port={port} --port-retries=0 \\
            --no-browser --allow-root >{folder}/log 2>&1 </dev/null &
          pid=$!
          cd {folder}
          echo $pid >pid
        fi
        n=0
        while ! open; do
          if ! lives; then echo failed; tail -n 1 log; exit; fi
          if [ $n -ge {PORT_S} ]; then echo slow; exit; fi
          sleep 1
          n=$((n + 1))
        done
        echo {RUNNING}
    """)


def _looks(port: int) -> str:
    """Whether somebody listens, and whether the program that was started is there."""
    listens = f"cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q ':{port:04X} [0-9A-F]*:[0-9A-F]* 0A '"
    lives = '[ -n "$pid" ] && grep -qs jupyter /proc/$pid/cmdline'
    return f"open() {{ {listens}; }}; lives() {{ {lives}; }}"


def look_script(port: int = JUPYTER_PORT, folder: str = FOLDER) -> str:
    """Where its user has removed what is known of it, whoever listens there may be it."""
    return _without_indent(f"""
        {_looks(port)}
        pid=$(cat {folder}/pid 2>/dev/null)
        if open && {{ [ -z "$pid" ] || lives; }}; then echo {RUNNING}; exit; fi
        echo {ENDED}
        tail -n 1 {folder}/log 2>/dev/null
        exit 0
    """)


def stop_script(folder: str = FOLDER) -> str:
    return _without_indent(f"""
        pid=$(cat {folder}/pid 2>/dev/null)
        if [ -n "$pid" ] && grep -qs jupyter /proc/$pid/cmdline; then kill "$pid"; fi
        rm -rf {folder}
        echo stopped
    """)


def _without_indent(text: str) -> str:
    return re.sub(r"^ {8}", "", text, flags=re.MULTILINE).strip() + "\n"
