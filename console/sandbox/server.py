"""Running the sandbox: in a thread of a test, or in a process of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgfleet.console.sandbox.application import Application
from pgfleet.console.sandbox.aws.running import running_aws
from pgfleet.console.sandbox.box import Box
from pgfleet.console.sandbox.kubernetes.cluster import Options
from pgfleet.console.sandbox.kubernetes.kubeconfig import write_kubeconfig
from pgfleet.console.sandbox.kubernetes.nodes import parse_group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgfleet.console.sandbox.aws.handle import Aws
    from pgfleet.console.sandbox.kubernetes.attachments import Attachments

HOST = "127.0.0.1"
# Only a stop that fails takes so long: with an AWS it has to end threads and moto, 10 s on a busy machine.
STOP_S = 60.0


async def serve(
    options: Options,
    nodes: Sequence[str],
    kubeconfig: Path,
    started: Callable[[Box, asyncio.Event], None],
    aws: Aws | None = None,
) -> None:
    """Listens until the event given to `started` is set. A pod's volume is attached at this AWS, too."""
    application = Application(options, [parse_group(text) for text in nodes])
    if aws is not None:
        attach_at(aws, application.cluster.attachments)
    runner, port = await application.listen(HOST)
    url = f"http://{HOST}:{port}"
    write_kubeconfig(kubeconfig, url)
    stop = asyncio.Event()
    try:
        started(Box(url, str(kubeconfig)), stop)
        await stop.wait()
    finally:
        await application.close(runner)


def attach_at(aws: Aws, attachments: Attachments) -> None:
    """Attach volumes at AWS as the CSI driver does. One that is gone there is passed over."""

    def attach(volume_id: str, node: str) -> None:
        with suppress(ValueError, OSError):
            aws.attach(volume_id, f"i-{node}")

    def detach(volume_id: str) -> None:
        with suppress(ValueError, OSError):
            aws.detach(volume_id)

    attachments.on_attach, attachments.on_detach = attach, detach


@contextmanager
def running(nodes: Sequence[str] = (), *, aws: bool = False, **options: Any) -> Iterator[Box]:
    """A sandbox in a thread; `nodes` as on the command line (`h100:2x8`), `options` those of `Options`.

    With `aws` there is one of those too, which takes seconds to start.
    """
    ready: Future[tuple[Box, Callable[[], None]]] = Future()

    def started(box: Box, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        ready.set_result((box, lambda: _call(loop, stop.set)))

    def work() -> None:
        try:
            asyncio.run(serve(Options(**options), nodes, Path(folder) / "kubeconfig", started, server))
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    with (
        tempfile.TemporaryDirectory(prefix="pgfleet-sandbox-") as folder,
        running_aws() if aws else nullcontext() as server,
    ):
        thread = threading.Thread(target=work, name="sandbox", daemon=True)
        thread.start()
        box, stop = ready.result()
        try:
            yield box if server is None else replace(box, aws_url=server.url)
        finally:
            stop()
            thread.join(STOP_S)


@contextmanager
def spawned(nodes: Sequence[str] = (), *, aws: bool = False, **options: Any) -> Iterator[Box]:
    """The same in a process of its own, which doesn't share the interpreter's lock with the caller."""
    with tempfile.TemporaryDirectory(prefix="pgfleet-sandbox-") as folder:
        command = [sys.executable, "-P", "-m", "pgfleet.console.sandbox", "--exit-with-parent"]
        command += [f"--nodes={','.join(nodes)}", f"--kubeconfig={Path(folder) / 'kubeconfig'}"]
        command += [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        command += ["--aws"] if aws else []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
            try:
                yield _box_of(process)
            finally:
                process.terminate()
                process.wait(STOP_S)


def _box_of(process: subprocess.Popen[str]) -> Box:
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise RuntimeError(f"the sandbox ended before it listened, with code {process.wait(STOP_S)}")
    addresses = json.loads(line)
    return Box(addresses["url"], addresses["kubeconfig"], addresses["aws_url"])


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(function)
