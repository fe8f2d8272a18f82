"""`python -m pgfleet.console.sandbox`: the sandbox as a process, which prints its addresses as one line of JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.aws.running import running_aws
from pgfleet.console.sandbox.kubernetes.cluster import Options
from pgfleet.console.sandbox.manual import manual
from pgfleet.console.sandbox.server import serve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfleet.console.sandbox.box import Box

PARENT_CHECK_S = 0.5


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    options = Options(**{field.name: getattr(given, field.name) for field in fields(Options)})
    nodes = [text for text in given.nodes.split(",") if text]
    parent = os.getppid()

    def started(box: Box, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if given.exit_with_parent:
            _check_parent(parent, stop)
        _print_addresses(box if aws is None else replace(box, aws_url=aws.url))

    try:
        with running_aws(snapshot_s=given.aws_snapshot) if given.aws else nullcontext() as aws:
            asyncio.run(serve(options, nodes, given.kubeconfig, started, aws))
    except (ValueError, OSError) as error:
        sys.exit(f"sandbox: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pgfleet.console.sandbox",
        description=__doc__,
        epilog=manual(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default_kubeconfig = Path(tempfile.gettempdir()) / "pgfleet-sandbox.kubeconfig"
    parser.add_argument("--nodes", default="", help="such as h100:2x8,a100:1x8,cpu-x86:1x0")
    parser.add_argument("--kubeconfig", type=Path, default=default_kubeconfig, help="the file to write")
    parser.add_argument("--aws", action="store_true", help="have an AWS too, with volumes, snapshots and S3")
    parser.add_argument("--aws-snapshot", type=float, default=0.0, help="seconds that a snapshot takes", metavar="N")
    parser.add_argument("--exit-with-parent", action="store_true", help="end when the parent process does")
    for field in fields(Options):
        names = {f"--{name.replace('_', '-')}" for name in (field.name, field.name.removesuffix("_s"))}
        parser.add_argument(
            *sorted(names), dest=field.name, type=type(field.default), default=field.default, metavar="N"
        )
    return parser


def _check_parent(parent: int, stop: asyncio.Event) -> None:
    if os.getppid() != parent:
        stop.set()
        return
    asyncio.get_running_loop().call_later(PARENT_CHECK_S, _check_parent, parent, stop)


def _print_addresses(box: Box) -> None:
    addresses = {"url": box.url, "kubeconfig": box.kubeconfig, "ssh_keys_url": box.ssh_keys_url, "aws_url": box.aws_url}
    sys.stdout.write(json.dumps(addresses) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
