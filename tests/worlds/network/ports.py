"""Ports for servers of a test."""

import random
import socket

# Below those that the system gives to connections that go out: between a look and a server's start it takes none.
PORTS = range(15_000, 32_000)


def free_port(in_a_row: int = 1) -> int:
    """The first of so many ports that nobody listens on."""
    while True:
        port = random.choice(PORTS)  # no secret
        if all(_is_free(port + number) for number in range(in_a_row)):
            return port


def _is_free(port: int) -> bool:
    try:
        with socket.create_server(("", port)):
            return True
    except OSError:
        return False
