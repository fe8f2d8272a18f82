"""What other accounts of this machine see of the processes and files that commands make."""

from pathlib import Path

import pytest

from pgfleet.console.local import embedded
from pgfleet.console.local.children import children
from pgfleet.console.sandbox.kubernetes.kubeconfig import write_kubeconfig

DSN = "postgresql://ada:hunter2@127.0.0.1:1/nowhere"


def test_no_command_line_of_a_child_holds_the_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[list[str]] = []
    monkeypatch.setattr("subprocess.Popen", lambda command, **_: lines.append(command))

    with children(tmp_path, {"DATABASE_URL": DSN}) as started:
        started.all_workers({"PGFLEET_KUBECONFIG": "/k"}, reservation=2)
        started.workers.clear()  # none was started

    assert len(lines) >= 5
    assert not any("hunter2" in word for line in lines for word in line)


def test_nobody_else_can_hold_the_lock_of_the_embedded_server(tmp_path: Path) -> None:
    lock = tmp_path / "data.lock"
    lock.touch(0o666)
    (tmp_path / "data").mkdir()

    embedded.stop(tmp_path / "data")

    assert lock.stat().st_mode & 0o077 == 0


def test_a_kubeconfig_is_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "made" / "kubeconfig"

    write_kubeconfig(file, "http://127.0.0.1:1")

    assert (file.stat().st_mode & 0o077, file.parent.stat().st_mode & 0o077) == (0, 0)
