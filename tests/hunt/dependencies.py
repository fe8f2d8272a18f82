"""What goes wrong with all that pgfleet depends on: refused, slow, hung, dropped, done and denied."""

from contextlib import suppress
from typing import Any

from hunt.known import NODES, RECEIVERS, Act, Known, nothing
from hunt.world import World

FAULTS: list[dict[str, Any]] = [
    {"status": 503},
    {"status": 500},
    {"status": 500, "after": True},
    {"status": 429, "retry_after": 1},
    {"drop": True},
    {"drop": True, "after": True},
    {"delay_s": 0.3},
]
STARTS = ["slow-pull", "throttled", "never-ready", "missing", "create-timeout", "crash-once", "crash-loop", "completes"]
BEHAVIOURS = ["crash", "crash-loop", "oom", "succeed", "vanish", "evict", "shutdown", "never-ready"]
HUNG = {"delay_s": 30.0}
AWS_FAULTS: list[dict[str, Any]] = [
    {"status": 503, "code": "RequestLimitExceeded"},
    {"status": 500},
    {"status": 500, "after": True},
    {"drop": True},
    {"drop": True, "after": True},
    {"status": None, "latency_s": 0.3},
]
AWS_ACTIONS = ["CreateVolume", "CreateSnapshot", "DeleteVolume", "DescribeVolumes", "DescribeSnapshots", "PUT .*", ".*"]
PATHS = {
    "Kubernetes": "^/api/.*",
    "the server of SSH keys": "^/ssh-keys/.*",
    "Hopsworks": "^/hopsworks/.*",
}


def _faults(known: Known) -> dict[str, Any]:
    dice = known.dice
    method = dice.choice([None, None, "GET", "POST", "DELETE", "PUT", "PATCH"])
    name = dice.choices(list(PATHS), (5, 1, 2))[0]
    return {"name": name, "times": dice.choice((1, 2, 5)), "fault": dice.choice(FAULTS), "method": method}


def _fault(world: World, name: str, times: int, fault: dict[str, Any], method: str | None) -> None:
    world.box.fault(PATHS[name], **fault, times=times, **({"method": method} if method else {}))


def _outage(known: Known) -> dict[str, Any]:
    return {"name": known.dice.choice(list(PATHS)), "fault": known.dice.choice([{"drop": True}, {"status": 503}, HUNG])}


def _out(world: World, name: str, fault: dict[str, Any]) -> None:
    world.box.fault(PATHS[name], times=10**9, **fault)
    if name == "Kubernetes":
        world.box.watches("drop")


def _clear(world: World) -> None:
    world.box.clear_faults()
    if world.box.aws_url:
        world.box.aws.clear_faults()


def _watches(world: World, what: str) -> None:
    world.box.watches(what)


def _node(world: World, number: int, silent: bool) -> None:  # noqa: FBT001  # a step's particulars have names
    world.box.node(world.machines[number], silent=silent)


def _aws(known: Known) -> dict[str, Any]:
    dice = known.dice
    return {"action": dice.choice(AWS_ACTIONS), "times": dice.choice((1, 2, 5)), "fault": dice.choice(AWS_FAULTS)}


def _aws_fault(world: World, action: str, times: int, fault: dict[str, Any]) -> None:
    if world.box.aws_url:
        world.box.aws.fault(action, **fault, times=times)


def _receiver(known: Known) -> dict[str, Any]:
    return {"number": known.dice.randrange(RECEIVERS), "status": known.dice.choice((200, 500, 503, 429, 410))}


def _answer(world: World, number: int, status: int) -> None:
    world.receivers[number].status = status


def _start(known: Known) -> dict[str, Any]:
    return {"start": known.dice.choice(STARTS), "times": 1}


def _start_so(world: World, start: str, times: int) -> None:
    world.box.starts(start, times=times, trouble_s=1)


def _behaviour(known: Known) -> dict[str, Any]:
    return {"what": known.dice.choice(BEHAVIOURS), "which": known.dice.randrange(10)}


def _behave(world: World, what: str, which: int) -> None:
    """One of the pods that run; it may have gone since."""
    pods = world.all("select pod_name, namespace from public.reservations where status = 'active' order by launched_at")
    if pods:
        pod = pods[which % len(pods)]
        with suppress(ValueError):
            world.box.behave(pod["namespace"], pod["pod_name"], what)


ACTS = {
    "fault": Act(8, _faults, _fault, "{name} answers the next {times} requests ({method}) so: {fault}"),
    "outage": Act(1.5, _outage, _out, "{name} is away: {fault}"),
    "clear": Act(3, nothing, _clear, "All that was away is back"),
    "watches": Act(
        1, lambda known: {"what": known.dice.choice(["cut", "drop", "expire"])}, _watches, "Watches: {what}"
    ),
    "node": Act(
        1,
        lambda known: {"number": known.dice.randrange(NODES), "silent": known.dice.random() < 0.4},
        _node,
        "Node {number} of the cluster is silent: {silent}",
    ),
    "aws": Act(4, _aws, _aws_fault, "AWS answers the next {times} of {action} so: {fault}"),
    "receiver": Act(2, _receiver, _answer, "Receiver {number} answers {status} from now on"),
    "start": Act(1, _start, _start_so, "The next pod starts so: {start}"),
    "behave": Act(3, _behaviour, _behave, "A pod that runs does this: {what}"),
    "cut": Act(1.5, nothing, World.cut_sessions, "All sessions of workers at the database are cut"),
    "silence": Act(
        0.7,
        nothing,
        World.silence_sessions,
        "The connections of workers to the database fall silent",
        of_processes=True,
    ),
}
