"""The simulated cluster: the store, and the parts that watch and change it."""

from __future__ import annotations

from dataclasses import dataclass

from pgfleet.console.sandbox.kubernetes.attachments import Attachments
from pgfleet.console.sandbox.kubernetes.deletions import Deletions
from pgfleet.console.sandbox.kubernetes.executions import Executions
from pgfleet.console.sandbox.kubernetes.kubelet import Kubelet
from pgfleet.console.sandbox.kubernetes.recorder import Recorder
from pgfleet.console.sandbox.kubernetes.scheduler import Scheduler
from pgfleet.console.sandbox.kubernetes.services import ServiceAddresses
from pgfleet.console.sandbox.kubernetes.store import Store
from pgfleet.console.sandbox.kubernetes.tally import Tally
from pgfleet.console.sandbox.kubernetes.volumes import Volumes


@dataclass(frozen=True)
class Options:
    """How long things take in the simulated cluster."""

    ready_delay_s: float = 0.5
    termination_delay_s: float = 0.2
    scheduling_retry_s: float = 1.0
    slow_keys_s: float = 2.0


class Cluster:
    """To be made inside the event loop that serves it."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.store = Store()
        self.recorder = Recorder(self.store)
        self.scheduler = Scheduler(self.store, self.recorder, options.scheduling_retry_s)
        self.attachments = Attachments(self.store)
        self.kubelet = Kubelet(self.store, self.recorder, self.attachments, options.ready_delay_s)
        self.deletions = Deletions(self.store, options.termination_delay_s)
        self.volumes = Volumes(self.store, self.deletions)
        self.addresses = ServiceAddresses()
        self.tally = Tally()
        self.executions = Executions(self.tally)
        parts = (self.scheduler, self.kubelet, self.deletions, self.addresses, self.tally)
        self.store.listeners += [part.watch for part in parts]
        self.store.listeners += [self.volumes.watch, self.attachments.watch]
