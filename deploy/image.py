"""Builds the image here with buildah, for which no registry is needed: `python deploy/image.py --help`."""  # noqa: INP001  # a script

import argparse
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
WHEELS = ROOT / "build" / "wheels"
# A base of our own, for a machine that reaches Debian's packages and no registry: the same release and the same Python
# as in the base of the Dockerfile, with which `make image BASE=...` builds.
OWN_BASE = "localhost/pgfleet-base:bookworm"
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
# The base has Python 3.11, and so has the Python that builds it, or another one.
PYTHON = "3.11"
PIP_CONF = (
    "[global]\nno-index = true\nfind-links = /wheels\ndisable-pip-version-check = true\nroot-user-action = ignore\n"
)


def ran(*command: str) -> None:
    subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603  # our own commands


def has(name: str) -> bool:
    """Whether an image of this name is here."""
    asked = ["buildah", "inspect", "--type=image", name]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0  # noqa: S603  # our own


def need(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        sys.exit(f"{' and '.join(missing)} can't be found; on Debian: apt-get install {' '.join(missing)}")


def make_base() -> None:
    """A small Debian with `python` and `pip` where they are in the images of Docker; about 200 MB, some minutes."""
    need("debootstrap")
    with tempfile.TemporaryDirectory(prefix="pgfleet-base-") as folder:
        root, archive = Path(folder) / "root", Path(folder) / "root.tar"
        ran("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root))
        (root / "usr/bin/python").symlink_to("python3")
        for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
            marker.unlink()
        with tarfile.open(archive, "w") as packed:
            packed.add(root, ".", filter=_wanted)
        ran("podman", "import", '--change=CMD ["python3"]', str(archive), OWN_BASE)


def _wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """What is in the image: no packages and lists of apt, and nothing of what the kernel shows."""
    left_out = ("./proc/", "./sys/", "./dev/", "./var/cache/apt/archives/", "./var/lib/apt/lists/")
    return None if entry.name.startswith(left_out) else entry


def fetch_wheels() -> Path:
    """What is pinned, by pip with the settings of this machine, once: the build itself asks nobody."""
    files = [ROOT / "deploy" / "constraints" / f"{name}.txt" for name in ("build", "worker")]
    folder = WHEELS / hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    if not folder.exists():
        fetching = folder.with_suffix(".part")
        for file in files:
            ran(
                *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
                *("--only-binary=:all:", f"--python-version={PYTHON}", "--require-hashes"),
                *("-r", str(file), "-d", str(fetching)),
            )
        fetching.rename(folder)
    return folder


def build(base: str, wheels: Path, tag: str, version: str) -> None:
    """The image of the Dockerfile, as it is; in Docker's format, as the other one has no health check."""
    revision = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S607
    with tempfile.TemporaryDirectory(prefix="pgfleet-image-") as folder:
        settings = Path(folder) / "pip.conf"
        settings.write_text(PIP_CONF, "utf-8")
        ran(
            *("buildah", "bud", "--isolation=chroot", "--format=docker", "--layers", "--file=deploy/Dockerfile"),
            *(f"--volume={wheels}:/wheels:ro", f"--volume={settings}:/etc/pip.conf:ro"),
            *("--build-arg", f"BASE={base}", "--build-arg", f"VERSION={version}"),
            *("--build-arg", f"REVISION={revision.strip()}", f"--tag={tag}", "."),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="", help=f"an image to build on; without it {OWN_BASE}, made by debootstrap")
    parser.add_argument("--tag", default="localhost/pgfleet:dev")
    parser.add_argument("--version", default="0.0.0", help="what the image's label says")
    given = parser.parse_args()
    need("buildah", "podman")
    if not given.base and not has(OWN_BASE):
        make_base()
    build(given.base or OWN_BASE, fetch_wheels(), given.tag, given.version)


if __name__ == "__main__":
    main()
