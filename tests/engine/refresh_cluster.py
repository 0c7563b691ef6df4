"""A small adopted cluster in a sandbox, with workloads, budgets and a load balancer, for tests of refresh and survey."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Any

import yaml

from sandbox import lifecycle, seeds
from sandbox.aws import Aws, Settings
from sandbox.world import World, connect

ROOT = Path(__file__).parents[2]
NAME = "moving"
QUICK = {"launch_delay": 0.3, "terminate_delay": 0.2, "late_labels_delay": 0.1, "update_delay": 0.1}

_WORKLOADS = Template("""
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: $web
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {sandbox/start-delay: $start, sandbox/stop-delay: $web_stop}}
    spec: {containers: [{name: web, image: web, resources: {requests: {cpu: 10m}}}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: shop}
spec: {maxUnavailable: $web_missing, selector: {matchLabels: {app: web}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: ledger, namespace: shop}
spec:
  replicas: $ledger
  serviceName: ledger
  selector: {matchLabels: {app: ledger}}
  template:
    metadata: {labels: {app: ledger}, annotations: {sandbox/start-delay: $start, sandbox/stop-delay: $ledger_stop}}
    spec: {containers: [{name: ledger, image: ledger}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: ledger, namespace: shop}
spec: {minAvailable: $ledger_kept, selector: {matchLabels: {app: ledger}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: cilium, namespace: kube-system}
spec:
  selector: {matchLabels: {k8s-app: cilium}}
  template:
    metadata: {labels: {k8s-app: cilium}}
    spec:
      hostNetwork: true
      nodeSelector: {cni-plugin: cilium}
      tolerations: [{operator: Exists}]
      containers: [{name: cilium-agent, image: cilium}]
""")


def workloads(
    *, web: int, web_missing: int, ledger: int, ledger_kept: int, start: str, web_stop: str, ledger_stop: str
) -> str:
    """A Deployment and a StatefulSet with their budgets, and a DaemonSet that looks like Cilium's agent.

    Numbers are replicas, the maxUnavailable of `web` and the minAvailable of `ledger`; times are as in "200ms".
    """
    return _WORKLOADS.substitute(locals())


WORKLOADS = workloads(
    web=8, web_missing=2, ledger=3, ledger_kept=2, start="500ms", web_stop="300ms", ledger_stop="500ms"
)


class Moving:
    """The cluster `moving`: groups `general` (cni-plugin=aws) and `workers` (cilium, at size 0), stack `one`."""

    def __init__(self, directory: Path, *, size: int = 3, manifests: str = WORKLOADS, proved: bool = False) -> None:
        self.proved = proved
        self.directory, self.size, self.workloads = directory, size, list(yaml.safe_load_all(manifests))
        self.project = directory / "project"

    def up(self) -> Moving:
        lifecycle.up(self.directory, print, settings=QUICK)
        self.environment = lifecycle.environment(self.directory)
        account = self.accounts = seeds.Account(self.directory)
        self.eks, self.scaling, self.elb, self.ec2 = (account(s) for s in ("eks", "autoscaling", "elbv2", "ec2"))
        self.kube = World(
            self.directory, connect(self.directory / "kubeconfig"), Aws(None, "eu-west-1", Settings(None))
        )
        self.network = seeds.network(account, NAME)
        seeds.legacy_cluster(account, NAME, self.network, managed_addons=False)
        self._groups()
        for document in self.workloads:
            self.apply(document)
        self._balance()
        self._stack()
        self.until(self.healthy)
        return self

    def healthy(self) -> bool:
        """Every workload has all its pods, ready."""
        wanted = {
            d["metadata"]["name"]: d["spec"]["replicas"] for d in self.workloads if "replicas" in d.get("spec", {})
        }
        return all(self.ready(app) == number == len(self.pods(app)) for app, number in wanted.items())

    def down(self) -> None:
        lifecycle.down(self.directory, print, purge=True)

    def _groups(self) -> None:
        role = self.eks.describe_nodegroup(clusterName=NAME, nodegroupName="batch")["nodegroup"]["nodeRole"]
        for name in ("batch", "general"):
            self.eks.delete_nodegroup(clusterName=NAME, nodegroupName=name)
        self.until(lambda: not self.eks.list_nodegroups(clusterName=NAME)["nodegroups"])
        for name, cni, size in (("general", "aws", self.size), ("workers", "cilium", 0)):
            self.eks.create_nodegroup(
                clusterName=NAME,
                nodegroupName=name,
                subnets=list(self.network.subnets),
                nodeRole=role,
                instanceTypes=["m5.large"],
                scalingConfig={"minSize": min(size, 1), "desiredSize": size, "maxSize": max(2 * size, 9)},
                labels={"cni-plugin": cni},
            )
        self.until(lambda: all(self.group(n)["status"] == "ACTIVE" for n in ("general", "workers")))
        self.until(lambda: len(self.nodes("aws")) == self.size)

    def _balance(self) -> None:
        """The old instances at a target group."""
        made = self.elb.create_target_group(
            Name="front", Protocol="TCP", Port=30080, VpcId=self.network.vpc, TargetType="instance"
        )
        self.target_group = made["TargetGroups"][0]["TargetGroupArn"]
        self.elb.modify_target_group_attributes(
            TargetGroupArn=self.target_group,
            Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "2"}],
        )
        self.elb.register_targets(
            TargetGroupArn=self.target_group, Targets=[{"Id": i} for i in self.instances("general")]
        )

    def _stack(self) -> None:
        self.project.mkdir(exist_ok=True)
        (self.project / "Pulumi.yaml").write_text("name: eks-cilium\nruntime: python\n")
        values: dict[str, Any] = {
            "journey": "replace",
            "stage": "baseline",
            "cluster": {"name": NAME, "adopt": True},
            "network": {
                "vpcId": self.network.vpc,
                "subnetIds": list(self.network.subnets),
                "vpcCidrs": [seeds.VPC_CIDR],
            },
            "cilium": {"groups": [{"name": "workers", "size": self.size, "maxSize": 9}]},
            "refresh": {"budget": "50%", "deadlineMinutes": 5},
            # No stage of a stack brought a prover here: a refresh that asked for one would wait for it.
            "bridge": {"enabled": self.proved},
        }
        config = {"aws:region": "eu-west-1"} | {f"eks-cilium:{key}": value for key, value in values.items()}
        (self.project / "Pulumi.one.yaml").write_text(yaml.safe_dump({"config": config}))

    # -- asking -----------------------------------------------------------------------------------

    def until(self, condition: Callable[[], Any], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not come true in time"
            time.sleep(0.2)

    def group(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.eks.describe_nodegroup(clusterName=NAME, nodegroupName=name)["nodegroup"]
        return found

    def sizes(self, name: str) -> tuple[int, int, int]:
        found = self.group(name)["scalingConfig"]
        return found["minSize"], found["desiredSize"], found["maxSize"]

    def scaling_group(self, name: str) -> dict[str, Any]:
        asg = self.group(name)["resources"]["autoScalingGroups"][0]["name"]
        found: dict[str, Any] = self.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[asg])[
            "AutoScalingGroups"
        ][0]
        return found

    def instances(self, name: str) -> list[str]:
        return [i["InstanceId"] for i in self.scaling_group(name)["Instances"]]

    def nodes(self, cni: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.kube.call("GET", "/api/v1/nodes", labelSelector=f"cni-plugin={cni}")["items"]
        return items

    def pods(self, app: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.kube.call("GET", "/api/v1/namespaces/shop/pods", labelSelector=f"app={app}")[
            "items"
        ]
        return items

    def ready(self, app: str) -> int:
        return sum(
            any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions") or [])
            for p in self.pods(app)
        )

    def lease(self) -> dict[str, Any]:
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/eks-cilium-refresh"
        found: dict[str, Any] = self.kube.call("GET", path)
        return found

    def apply(self, document: dict[str, Any]) -> None:
        meta = document["metadata"]
        group = document["apiVersion"]
        base = f"/api/{group}" if "/" not in group else f"/apis/{group}"
        plural = document["kind"].lower() + "s"
        where = f"/namespaces/{meta['namespace']}" if meta.get("namespace") else ""
        self.kube.call("POST", f"{base}{where}/{plural}", document)

    # -- the command line ---------------------------------------------------------------------------

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "operations", *arguments, "--stack", "one"],
            cwd=self.project,
            env={**os.environ, **self.environment, "PYTHONPATH": str(ROOT), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, seconds: float = 240) -> tuple[int, dict[str, Any], str]:
        """Exit code, the JSON of stdout, stderr."""
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            out, err = process.communicate()
            raise AssertionError(f"{arguments} did not end: {err[-3000:]}") from None
        lines = out.strip().splitlines()
        return process.returncode, json.loads(lines[-1]) if lines else {}, err
