"""What Calico's agents are told that changes verdicts and is not modelled."""

from __future__ import annotations

from typing import Final

from netpol.read.common import object_name, spec_of
from netpol.read.reader import Reader

FELIX: Final = frozenset((api, "FelixConfiguration") for api in ("projectcalico.org", "crd.projectcalico.org"))
"""API group and kind."""


def felix(reader: Reader) -> list[str]:
    """What a FelixConfiguration says beyond what is decided here, each in words of a proof's assumption."""
    name, spec = object_name(spec_of(reader, "metadata")), reader.child("spec")
    about, found = f"FelixConfiguration {name}", []
    if spec is None:
        return []
    if spec.raw("bpfEnabled") is True:
        found.append(f"{about} switches eBPF on: policies were decided as Calico's iptables and nftables do")
    action = spec.raw("defaultEndpointToHostAction")
    if isinstance(action, str) and action.lower() != "accept":
        found.append(
            f"{about} has defaultEndpointToHostAction {action[:20]!r}: what a pod sends to its own node may be dropped "
            "whatever policies say, which was not compared"
        )
    return found
