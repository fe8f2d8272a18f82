"""What a person always wants: `~/.config/pgfleet/config.toml`, or the file that PGFLEET_CONFIG names.

    user = "ada"
    github_user = "ada-lovelace"
    gpu_type = "h100"
    hours = 4
    jupyter = true

An option goes before it, and so does a variable of the environment.
"""

import os
import tomllib
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pgfleet.schema.container import SECONDARY_USERS, GithubUser, Image
from pgfleet.schema.disk import DiskName, SizeGb
from pgfleet.schema.errors import FleetError
from pgfleet.schema.explaining import explain
from pgfleet.schema.messages import Hours, Name
from pgfleet.schema.reservation import HOURS_LIMIT, GpuCount, GpuType

T = TypeVar("T")
FILE = "PGFLEET_CONFIG"


class Defaults(BaseModel):
    """Called as the options of `pgfleet submit reservation` are; None is nothing said."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    user: Name | None = None
    github_user: GithubUser | None = None
    gpu_type: GpuType | None = None
    gpus: GpuCount | None = None
    hours: Annotated[Hours, Field(le=HOURS_LIMIT)] | None = None
    image: Image | None = None
    disk: DiskName | None = None
    disk_size: SizeGb | None = None
    jupyter: bool | None = None
    with_user: Annotated[list[GithubUser], Field(max_length=SECONDARY_USERS)] | None = None

    def gpus_of(self, gpu_type: str) -> int:
        """The usual number is of the usual type: another may have no GPUs, or fewer."""
        usual = self.gpus if gpu_type == self.gpu_type else None
        return int(not gpu_type.startswith("cpu-")) if usual is None else usual


def either(given: T | None, usual: T | None) -> T | None:
    """What was given, else what is usual."""
    return usual if given is None else given


def path() -> Path:
    """Where the file is, whether there is one or not."""
    given = os.environ.get(FILE)
    if given:
        return Path(given).expanduser()
    folder = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(folder).expanduser() / "pgfleet" / "config.toml"


def defaults() -> Defaults:
    """What the file says; nothing where there is none.

    Raises:
        FleetError: it can't be read, or says something that is not known; with its nearest name.
    """
    where = path()
    try:
        text = where.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if os.environ.get(FILE):
            raise FleetError(f"{FILE}: there is no file {where}.") from None
        return Defaults()
    except (OSError, UnicodeDecodeError) as error:
        raise FleetError(f"{where} can't be read: {error}") from None
    try:
        return Defaults.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise FleetError(f"{where}: {error}") from None
    except RecursionError:
        raise FleetError(f"{where}: it is nested too deep.") from None
    except ValidationError as error:
        raise FleetError(f"{where}: {explain(error, Defaults)}") from None
