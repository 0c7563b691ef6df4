"""Runs inside network-config-analyzer's own environment: one JSON case per line in, one answer per line out.

A case names a directory with policies, pods and namespaces, and flows; the answer says for each flow whether the
analyzer allows it. With `equiv` it names a second directory and gets whether both are equivalent and how long that
took. Every case runs in a process of its own, since the analyzer keeps global state.
"""

# mypy: ignore-errors
# ruff: noqa: PLC0415, ANN, S110, BLE

import ipaddress
import json
import os
import resource
import sys
import time

from nca.CoreDS.Peer import BasePeerSet, IpBlock
from nca.FileScanners.GenericTreeScanner import GenericTreeScanner
from nca.NetworkConfig.NetworkConfigQuery import EquivalenceQuery
from nca.NetworkConfig.ResourcesHandler import ResourcesHandler
from nca.Resources.PolicyResources.NetworkPolicy import PolicyConnectionsFilter
from nca.Utils.OutputConfiguration import OutputConfiguration


def load(directory, handler, *, name="global", base=None):
    """The analyzer's view of one directory."""
    files = [os.path.join(directory, "policies.yaml")]
    cluster = os.path.join(base or directory, "cluster.yaml")
    return handler.get_network_config(files, [cluster], [cluster], None, name, name != "global")


def allowed(config):
    """The allowed connections as plain boxes."""
    everything = config.allowed_connections(None, PolicyConnectionsFilter.only_all_allowed_connections())
    conns = everything.all_allowed_conns
    boxes = []
    for cube in conns:
        box = dict(zip(conns.active_dimensions, cube, strict=True))
        out = {"active": set(box)}
        for side in ("src_peers", "dst_peers"):
            names, blocks = set(), []
            for peer in BasePeerSet().get_peer_set_by_indices(box[side]) if side in box else ():
                if isinstance(peer, IpBlock):
                    blocks += [(int(i.start.address), int(i.end.address), i.start.address.version) for i in peer]
                else:
                    names.add(str(peer.full_name()))
            out[side] = (names, blocks)
        for dim in ("protocols", "src_ports", "dst_ports", "icmp_type", "icmp_code"):
            out[dim] = [(i.start, i.end) for i in box[dim]] if dim in box else []
        boxes.append(out)
    return boxes


def inside(value, intervals):
    return any(first <= value <= last for first, last in intervals)


def at(end, side):
    names, blocks = side
    if "/" in end:
        return end in names
    address = ipaddress.ip_address(end)
    return any(v == address.version and first <= int(address) <= last for first, last, v in blocks)


def matches(flow, box):
    source, destination, protocol, port, icmp_type, icmp_code = flow
    for end, side in ((source, "src_peers"), (destination, "dst_peers")):
        if side in box["active"] and not at(end, box[side]):
            return False
    if "protocols" in box["active"] and not inside(protocol, box["protocols"]):
        return False
    if protocol in (6, 17, 132) and "dst_ports" in box["active"] and not inside(port, box["dst_ports"]):
        return False
    if protocol == 1:
        if "icmp_type" in box["active"] and not inside(icmp_type, box["icmp_type"]):
            return False
        if "icmp_code" in box["active"] and not inside(icmp_code, box["icmp_code"]):
            return False
    return True


YAML = {"seconds": 0.0}
"""Processor time in the YAML parser so far."""


def timed(scan):
    def scanned(self, path, stream):
        started = time.process_time()
        found = list(scan(self, path, stream))
        YAML["seconds"] += time.process_time() - started
        yield from found

    return scanned


GenericTreeScanner._yield_yaml_file = timed(GenericTreeScanner._yield_yaml_file)


def equivalence(case, handler):
    """Whether both directories mean the same. `seconds`: from parsed YAML to the verdict, the cluster's reading left
    out; `files_seconds`: everything, the cluster's reading once.
    """
    cluster = os.path.join(case["directory"], "cluster.yaml")
    empty = os.path.join(case["directory"], "none.yaml")
    open(empty, "w").close()
    started = time.process_time()
    ResourcesHandler().get_network_config([empty], [cluster], [cluster], None, "alone", True)
    alone = time.process_time() - started
    alone_yaml, YAML["seconds"] = YAML["seconds"], 0.0
    started = time.process_time()
    first = load(case["directory"], handler, name="first")
    second = load(case["equiv"], handler, name="second", base=case["directory"])
    loaded = time.process_time()
    result = EquivalenceQuery(first, second, OutputConfiguration()).exec()
    done = time.process_time()
    # Either load reads the cluster; what that takes beyond YAML is taken off for both.
    reading = YAML["seconds"] + 2 * (alone - alone_yaml)
    return {
        "equal": bool(result.bool_result),
        "query_seconds": done - loaded,
        "seconds": max(done - started - reading, done - loaded),
        "files_seconds": max(done - started - alone, done - loaded),
    }


def answer(case):
    handler = ResourcesHandler()
    if "equiv" in case:
        return equivalence(case, handler)
    started = time.process_time()
    config = load(case["directory"], handler)
    boxes = allowed(config)
    verdicts = [any(matches(f, b) for b in boxes) for f in case["flows"]]
    return {"verdicts": verdicts, "seconds": time.process_time() - started}


def main():
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.close(read)
            try:
                result = answer(json.loads(line))
                result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            except BaseException as error:
                import traceback

                result = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
            os.write(write, json.dumps(result).encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            text = pipe.read()
        os.waitpid(child, 0)
        out.write((text or json.dumps({"error": "the analyzer died"})) + "\n")
        out.flush()


main()
