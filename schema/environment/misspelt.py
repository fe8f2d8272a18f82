"""Names of variables: those that are ours, and what one with a typo may have meant."""

from collections.abc import Mapping
from difflib import get_close_matches

from pgfleet.schema.settings import Settings, variable

# Variables of ours beside the settings, by whom they are read, each with what it is for.
OF_COMMANDS = {
    "PGFLEET_URL": "The HTTP API that commands use; set to nothing, they use the database",
    "PGFLEET_KEY": "The key for it, instead of the one that `pgfleet login` has kept",
    "PGFLEET_ALLOW_HTTP": "An API elsewhere may be asked without TLS (`1`)",
    "PGFLEET_USER": "Who asks, where nobody is named: instead of the login's name",
    "PGFLEET_CONFIG": "A file of what one always wants, instead of `~/.config/pgfleet/config.toml`",
    "PGFLEET_DATA_DIR": "Where the embedded PostgreSQL has its data",
    "PGFLEET_HOPSWORKS_KEY": "The API key of a cluster that `pgfleet hopsworks` is told of",
    "PGFLEET_NODE_KEY": "The key of the node that `pgfleet submit heartbeat` speaks for",
}
OF_WORKERS = {"PGFLEET_LOG_LEVEL": "`debug`, `info`, `warning` or `error`: from where on lines are logged"}
# The HTTP API's (`producers/http/settings.py`).
_OF_API = {
    "PGFLEET_BODY_TIMEOUT_S",
    "PGFLEET_HEARTBEAT_DEADLINE_S",
    "PGFLEET_HEARTBEAT_WINDOW_S",
    "PGFLEET_OIDC_ALLOW_HTTP",
    "PGFLEET_OIDC_AUDIENCE",
    "PGFLEET_OIDC_CLIENT_ID",
    "PGFLEET_OIDC_CLIENT_SECRET",
    "PGFLEET_OIDC_ISSUERS",
    "PGFLEET_OIDC_LINK_ISSUER",
    "PGFLEET_OIDC_ROLE_CLAIM",
    "PGFLEET_OIDC_SIGN_IN_ISSUER",
    "PGFLEET_OIDC_USERNAME_CLAIM",
    "PGFLEET_PUBLIC_URL",
    "PGFLEET_QUEUE_MOST_WAITING",
    "PGFLEET_QUEUE_OLDEST_S",
    "PGFLEET_REQUESTS_BURST",
    "PGFLEET_REQUESTS_PER_S",
    "PGFLEET_SERVE_THREADS",
    "PGFLEET_SERVE_TIMEOUT_S",
    "PGFLEET_SESSION_HOURS",
    "PGFLEET_STRANGERS_BURST",
    "PGFLEET_STRANGERS_PER_S",
    "PGFLEET_TRUSTED_PROXIES",
}
# How alike two names are of which one is a typo. A service's links in Kubernetes (PGFLEET_SERVICE_HOST) are less so.
_ALIKE = 0.8


def misspelt(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that nobody reads and that look like one of ours, each with the one that was meant."""
    known = {variable(name) for name in Settings.model_fields} | OF_COMMANDS.keys() | OF_WORKERS.keys() | _OF_API
    unknown = sorted(name for name in environment if name.startswith(("PGFLEET_", "DATABASE_")) and name not in known)
    ends = {name.removeprefix("PGFLEET_"): name for name in known}
    near = {name: get_close_matches(name.removeprefix("PGFLEET_"), ends, 1, _ALIKE) for name in unknown}
    return {name: ends[found[0]] for name, found in near.items() if found}
