"""Workers of one kind and HTTP APIs, forked from a process that has done once what takes longest when one begins.

That the schema and the rights are there is looked at by tests of their own, and not at each of ten thousand beginnings;
dramatiq's parent process, which only waits for its worker, is left out. All else is as a command line does it.
"""

import gc
import os
import ssl
import sys
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from threading import Event
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
import certifi
import yaml
from dramatiq import Worker

from crashes.nursery import API, PORT, arm, be_api, keep_only, serve
from pgfleet.console.commands.running import serve as serving_api
from pgfleet.console.web import site
from pgfleet.producers.http import desk, serving, sessions
from pgfleet.producers.http import settings as serve_settings
from pgfleet.producers.http.openapi.asyncapi import document as published_queues
from pgfleet.producers.http.openapi.document import document as published
from pgfleet.producers.http.settings import read_serve_settings
from pgfleet.schema.settings import read_settings
from pgfleet.workers.clients.aws import signing
from pgfleet.workers.runtime import serve as running
from pgfleet.workers.runtime.serve import dramatiq_broker

UP = "STORM_UP"
# What the API's command imports when it begins is imported here.
assert site
assert desk


def be(what: str, environment: Mapping[str, str], point: Sequence[str]) -> None:
    """A worker by the module of its kind, or the API. `UP` names the file that says that a worker has begun."""
    os.environ.update(environment)
    os.dup2(2, 1)
    if point:
        arm(Path(point[0]), point[1], point[2], int(point[3]))
    if what == API:
        says_when_up(Path(environment[UP]))
        be_api(int(environment[PORT]))
    keep_only([what])
    worker: Any = Worker(dramatiq_broker(), worker_timeout=200, worker_threads=1)
    worker.start()
    Path(environment[UP]).touch()
    Event().wait()


def says_when_up(file: Path) -> None:
    real = serving.Served.run

    def run(served: serving.Served) -> None:
        file.touch()
        real(served)

    put(serving.Served, run=run)


def put(owner: Any, **things: Any) -> None:
    for name, thing in things.items():
        setattr(owner, name, thing)


def nothing(*_: Any) -> None: ...


def prepare() -> None:
    """What each process would do again with the same result; nothing of it is open, and no thread runs."""
    settings, of_api = read_settings(), read_serve_settings()
    listed = serving.endpoints()
    document, of_queues = published(listed, "storm"), published_queues("storm")
    clients = {name: signing.Signed(name, settings) for name in ("ec2", "s3")}
    context = cache(ssl.create_default_context)
    context(cafile=certifi.where())
    put(running, read_settings=lambda: settings, check_schema=nothing, check_rights=nothing)
    put(serving_api, read_settings=lambda: settings)
    put(serve_settings, read_serve_settings=lambda: of_api)
    put(sessions, verify=nothing)
    put(serving, endpoints=lambda: listed, document=lambda *_: document, of_queues=lambda *_: of_queues)
    put(signing, Signed=lambda name, _: clients[name])
    put(ssl, create_default_context=context)
    put(yaml, safe_load=partial(yaml.load, Loader=yaml.CSafeLoader))
    # Nothing that is there already is looked at, and so copied, by a child.
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    prepare()
    serve(iter(sys.stdin), be)
