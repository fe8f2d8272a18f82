"""The settings of `pgfleet serve`, beside those of the whole program."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServeSettings(BaseSettings):
    """Each is `PGFLEET_<NAME>` in the environment."""

    model_config = SettingsConfigDict(
        frozen=True, env_prefix="PGFLEET_", extra="ignore", env_ignore_empty=True, validate_by_name=True
    )

    # Sessions of the database, and threads that answer.
    serve_threads: Annotated[int, Field(ge=1, le=64)] = 16
    # What the database has not answered by then is given up: 503.
    serve_timeout_s: Annotated[float, Field(gt=0, le=60)] = 2
