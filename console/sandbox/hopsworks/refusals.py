"""What a Hopsworks server says when it refuses: its own error codes beside those of HTTP."""

from __future__ import annotations

from typing import Any

from pgfleet.console.sandbox.kubernetes.refusals import RefusedError

GENERIC = (120_000, "A generic error occurred.")
NO_SUCH_PAGE = (120_004, "Web application exception occurred")
INCOMPLETE = (120_007, "Some parameters were not provided or were not in the required format.")
NO_VALID_ROLE = (160_000, "No valid role found for this user")
NO_SUCH_USER = (160_002, "User not found")
USER_EXISTS = (160_003, "There is an existing account associated with this email")
USUAL = {400: INCOMPLETE, 401: NO_VALID_ROLE, 404: NO_SUCH_USER, 405: NO_SUCH_PAGE, 409: USER_EXISTS}


class HopsworksRefusedError(RefusedError):
    """A request that is answered with an error document of Hopsworks; `error` is a code and its message."""

    def __init__(self, code: int, user_message: str, error: tuple[int, str] | None = None) -> None:
        super().__init__(code, user_message)
        self.status = hopsworks_failure(code, user_message, error)


def hopsworks_failure(code: int, user_message: str, error: tuple[int, str] | None = None) -> dict[str, Any]:
    """Without an `error`, the one that Hopsworks usually has for the HTTP status `code`."""
    error_code, message = error or USUAL.get(code, GENERIC)
    return {"errorCode": error_code, "errorMsg": message, "usrMsg": user_message}


def bad_request(why: str) -> HopsworksRefusedError:
    return HopsworksRefusedError(400, why)
