"""The rights are exactly the calls; the metrics say what the bar says."""

import json
import re
import urllib.request
from pathlib import Path

import yaml

from operations.refresh.cluster import cloud, kube, rights
from operations.refresh.run.metrics import Metrics, exposition
from operations.refresh.run.progress import Snapshot

HERE = Path(kube.__file__).parent


def test_nothing_may_delete_pods_or_read_secrets():
    rules = [rule for document in yaml.safe_load_all(rights.rbac()) for rule in document.get("rules", [])]
    pods = [rule["verbs"] for rule in rules if "pods" in rule["resources"]]
    assert pods
    assert all(set(verbs) <= {"list", "watch"} for verbs in pods)
    assert not any("secrets" in rule["resources"] or "*" in rule["resources"] for rule in rules)


def test_the_lease_is_the_only_one_that_may_be_changed():
    rules = [rule for document in yaml.safe_load_all(rights.rbac()) for rule in document.get("rules", [])]
    leases = [rule for rule in rules if "leases" in rule["resources"]]
    assert [rule.get("resourceNames") for rule in leases] == [["eks-cilium-refresh"], None]
    assert leases[1]["verbs"] == ["create"]


def test_every_aws_call_in_the_code_is_listed_and_every_listed_one_is_made():
    """boto3 names in cloud.py, against CALLS."""
    code = (HERE / "cloud.py").read_text()
    made = set(re.findall(r"self\._(?:eks|scaling|ec2|elb)\.([a-z_]+)\(", code))
    made |= set(re.findall(r'get_paginator\("([a-z_]+)"\)', code))
    made |= set(re.findall(r"self\._scaling\.((?:resume|suspend)_processes)", code))
    made.discard("get_paginator")
    listed = {re.sub(r"(?<!^)(?=[A-Z])", "_", action).lower() for _, action, _ in cloud.CALLS}
    assert made == {name.replace("auto_scaling", "auto_scaling") for name in listed}


def test_the_files_that_are_shipped_are_those_that_the_code_makes():
    shipped = HERE.parents[2] / "docs" / "refresh"
    assert (shipped / "rbac.yaml").read_text() == rights.rbac()
    assert (shipped / "iam.json").read_text() == rights.iam()


def test_changes_are_bound_to_the_cluster():
    policy = json.loads(rights.iam("shop", "111122223333", "eu-west-1"))
    for statement in policy["Statement"][1:]:
        assert statement["Resource"] != "*" or statement["Condition"]
    assert "ec2:TerminateInstances" not in json.dumps(policy)
    assert "nodegroup/shop/*" in json.dumps(policy)


def test_metrics_are_served_on_the_loopback():
    snapshot = Snapshot(seconds=3.0, done=2, total=5, active=1, new_ready=3, new_wanted=4, evicted=9)
    metrics = Metrics(0)
    try:
        shown: list[Snapshot] = []
        metrics.beside(shown.append)(snapshot)
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics.port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    finally:
        metrics.stop()
    assert shown == [snapshot]
    assert "eks_cilium_refresh_nodes_done 2\n" in text
    assert text == exposition(snapshot)
    assert exposition(None) == ""
