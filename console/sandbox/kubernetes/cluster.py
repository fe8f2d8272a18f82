"""The simulated cluster: the store, and the parts that watch and change it."""

from __future__ import annotations

from dataclasses import dataclass

from pgfleet.console.sandbox.kubernetes.attachments import Attachments
from pgfleet.console.sandbox.kubernetes.deletions import Deletions
from pgfleet.console.sandbox.kubernetes.executions import Executions
from pgfleet.console.sandbox.kubernetes.history import History
from pgfleet.console.sandbox.kubernetes.kubelet import Kubelet
from pgfleet.console.sandbox.kubernetes.lifecycle import Lifecycle
from pgfleet.console.sandbox.kubernetes.machines import Machines
from pgfleet.console.sandbox.kubernetes.pod_logs import PodLogs
from pgfleet.console.sandbox.kubernetes.priorities import Priorities
from pgfleet.console.sandbox.kubernetes.recorder import Recorder
from pgfleet.console.sandbox.kubernetes.rules.switches import Switches
from pgfleet.console.sandbox.kubernetes.scheduler import Scheduler
from pgfleet.console.sandbox.kubernetes.services import ServiceAddresses
from pgfleet.console.sandbox.kubernetes.store import Store
from pgfleet.console.sandbox.kubernetes.tally import Tally
from pgfleet.console.sandbox.kubernetes.volumes import Volumes
from pgfleet.console.sandbox.kubernetes.watching import Watchers


@dataclass(frozen=True)
class Options:
    """How long things take in the simulated cluster, and how many changes of each resource it remembers.

    `second_s` is how long a second takes of what kubelets and controllers wait for: pauses after crashes and failed
    pulls (10 s at first), the grace of silent nodes (50 s), tolerations (300 s), pods of nodes that are gone (40 s).
    """

    ready_delay_s: float = 0.5
    termination_delay_s: float = 0.2
    scheduling_retry_s: float = 300.0
    second_s: float = 0.1
    slow_keys_s: float = 2.0
    bookmark_s: float = 60.0
    history_size: int = 10_000


class Cluster:
    """To be made inside the event loop that serves it."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.store = Store()
        self.history = History(self.store, options.history_size)
        self.watchers = Watchers(self.store, self.history, options.bookmark_s)
        self.rules = Switches(self.store)
        self.recorder = Recorder(self.store)
        self.machines = Machines(self.store)
        self.priorities = Priorities()
        self.deletions = Deletions(self.store, self.machines, options.termination_delay_s)
        self.scheduler = Scheduler(self.store, self.recorder, self.deletions, options.scheduling_retry_s)
        self.attachments = Attachments(self.store, self.machines, options.second_s)
        paces = {"ready_delay_s": options.ready_delay_s, "second_s": options.second_s}
        self.kubelet = Kubelet(self.store, self.recorder, self.attachments, self.machines, **paces)
        self.kubelet.admits = self.scheduler.placements.rejection
        self.lifecycle = Lifecycle(
            self.store, self.recorder, self.machines, self.deletions, self.kubelet, options.second_s
        )
        self.volumes = Volumes(self.store, self.deletions)
        self.addresses = ServiceAddresses()
        self.tally = Tally()
        self.pod_logs = PodLogs()
        self.executions = Executions(self.tally, self.machines)
        parts = (self.scheduler, self.kubelet, self.deletions, self.addresses, self.tally, self.lifecycle)
        self.store.listeners += [part.watch for part in parts]
        self.store.listeners += [self.volumes.watch, self.attachments.watch, self.history.watch, self.watchers.watch]
