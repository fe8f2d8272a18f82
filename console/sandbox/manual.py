"""How a person makes trouble by hand: the switches under `/_sandbox`, as `--help` shows them."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.control import WATCHES
from pgfleet.console.sandbox.kubernetes.behaviours import LIVE, REJECTIONS, STARTS
from pgfleet.console.sandbox.kubernetes.lifecycle import DRAIN
from pgfleet.console.sandbox.kubernetes.rules.switches import ACCESS, RULES

if TYPE_CHECKING:
    from collections.abc import Iterable

TEXT = """\
trouble, by requests to the printed url (curl -d '{{...}}' URL/_sandbox/...):

  POST starts                 {{"start": "throttled", "pods": "regex", "nodes": "regex", "times": 1, "trouble_s": 40}}
                              the next pods start so; DELETE starts forgets what is left. One of
{starts}
                              or rejected by the node for the reason
{rejections}
                              The image sandbox/throttled:40 does the same without a request;
                              the commands true, false and "exit 3" end so.
  POST pods/NAMESPACE/NAME    {{"behave": "evict"}}: a live pod does so at once. One of
{live}
  POST nodes                  {{"gpu_type": "h100", "count": 1, "gpus": 8, "families": "ipv6,ipv4"}}
  POST nodes/NAME             {{"silent": true}}, false again; {{"ready": false}}; {{"pressure": "memory"}};
                              {{"clock_s": -20}}: its clock is behind
  POST scheduler              {{"down": true}}, and false again
  POST priorities             {{"name": "urgent", "value": 1000}}: a priority class
  POST faults                 {{"path": "regex", "method": "POST", "status": 503, "times": 3}}; DELETE faults
  POST rules/KIND             {{"name": "gpus", "hard": {{"requests.nvidia.com/gpu": "8"}}}}: the cluster refuses;
                              DELETE rules ends it. One of
{rules}
  POST watches/WHAT           to all that are open: {watches}
  DELETE history              versions up to now are too old to watch from
  POST logs/NAMESPACE/NAME    {{"content": "base64", "previous": false}}: a container has printed this
  POST gpus/NAMESPACE/NAME    {{"percent": [97, 3]}}: so busy are the GPUs of a pod, as nvidia-smi in it says
  GET  state                  objects, counters, GPUs

Back-offs, graces of silent nodes and tolerations take a tenth of their time; with --second 1 all of it.
"""


def manual() -> str:
    return TEXT.format(
        starts=_listed(STARTS),
        rejections=_listed(REJECTIONS),
        live=_listed((*LIVE, DRAIN)),
        rules=_listed((*RULES, *ACCESS)),
        watches=", ".join(WATCHES),
    )


def _listed(names: Iterable[str]) -> str:
    indent = " " * 32
    return textwrap.fill(", ".join(names), 110, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
