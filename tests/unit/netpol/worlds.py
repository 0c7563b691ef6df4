"""Small worlds for the tests of the policy room."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

from netpol import Flow, World, decide, from_text

CLUSTER = """
apiVersion: v1
kind: Namespace
metadata: {name: red, labels: {team: red, env: prod}}
---
apiVersion: v1
kind: Namespace
metadata: {name: blue, labels: {team: blue, env: dev}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot, namespace: red, labels: {kind: machine}}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: InternalIP, address: 10.1.0.1}]}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
status: {addresses: [{type: InternalIP, address: 10.1.0.2}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: red, labels: {app: web, tier: front, pod-template-hash: abc}}
spec:
  nodeName: n1
  serviceAccountName: robot
  containers: [{name: c, ports: [{name: http, containerPort: 8080}, {name: dns, containerPort: 53, protocol: UDP}]}]
status: {podIPs: [{ip: 10.0.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: red, labels: {app: db, tier: back}}
spec: {nodeName: n2, containers: [{name: c, ports: [{name: http, containerPort: 5432}]}]}
status: {podIPs: [{ip: 10.0.0.2}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: blue, labels: {app: web}}
spec: {nodeName: n2, containers: []}
status: {podIPs: [{ip: 10.0.1.1}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: red, labels: {svc: db}}
spec:
  selector: {app: db}
  clusterIP: 172.20.0.10
  ports: [{name: sql, port: 5432, targetPort: http, nodePort: 30432}]
"""


def world(policies: str = "", **options: Any) -> World:
    """The small cluster with these policies; engines are chosen with `enforced_by`."""
    options.setdefault("whole", True)
    return from_text(CLUSTER + ("\n---\n" + policies if policies.strip() else ""), **options)


def calico(policies: str, **options: Any) -> World:
    return world(policies, **options).enforced_by("calico")


def cilium(policies: str, **options: Any) -> World:
    return world(policies, **options).enforced_by("cilium")


def allows(where: World, source: str, destination: str, protocol: str = "TCP", port: int = 80, **more: int) -> bool:
    return decide(where, Flow.of(source, destination, protocol, port, **more)).allowed


def gnp(spec: str, name: str = "g") -> str:
    return f"apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def np(spec: str, name: str = "np", namespace: str = "red") -> str:
    return (
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\n"
        f"metadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )


def knp(spec: str, name: str = "k", namespace: str = "red") -> str:
    return (
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
        f"metadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )


def ccnp(spec: str, name: str = "c") -> str:
    return f"apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def cnp(spec: str, name: str = "c", namespace: str = "red") -> str:
    return (
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n"
        f"metadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )


def tier(name: str, order: int, action: str = "Deny") -> str:
    return (
        f"apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {{name: {name}}}\n"
        f"spec: {{order: {order}, defaultAction: {action}}}\n"
    )


def docs(*texts: str) -> str:
    return "\n---\n".join(texts)


def with_addresses(where: World) -> World:
    """IPv4 addresses for pods that have none."""
    return replace(
        where,
        pods=tuple(
            p if p.addresses else replace(p, addresses=(ipaddress.ip_address(f"10.0.9.{i + 1}"),))
            for i, p in enumerate(where.pods)
        ),
    )


PRODUCTION = """
apiVersion: crd.projectcalico.org/v1
kind: GlobalNetworkPolicy
metadata: {name: deny-aws-imds}
spec:
  types: [Egress]
  namespaceSelector: all()
  egress:
  - {action: Log, protocol: TCP, destination: {nets: [169.254.169.254/32], ports: [80, 443]}}
  - {action: Deny, protocol: TCP, destination: {nets: [169.254.169.254/32], ports: [80, 443]}}
  - {action: Allow, destination: {nets: [0.0.0.0/0]}}
"""
ISOLATED = knp("{podSelector: {}, policyTypes: [Egress]}", "isolated", "locked")
OUTWARD = knp(
    "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}",
    "outward",
    "open",
)
TWIN = ccnp(
    """
  endpointSelector: {}
  enableDefaultDeny: {egress: false}
  egressDeny:
  - toCIDR: [169.254.169.254/32]
    toPorts: [{ports: [{port: "80", protocol: TCP}, {port: "443", protocol: TCP}]}]
""",
    "deny-aws-imds",
)
TENANTS = docs(
    *(
        f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {n}}}\n---\n"
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: a, namespace: {n}, labels: {{app: a}}}}\nspec: {{containers: []}}\n"
        for n in ("locked", "open", "plain")
    )
)
