"""What user data tells kubelet."""

from __future__ import annotations

import base64
import json

import pytest
import yaml

from sandbox.cluster.userdata import parse

CONFIG = """
apiVersion: node.eks.aws/v1alpha1
kind: NodeConfig
spec:
  cluster: {name: demo}
  kubelet:
    config: {maxPods: 29, registerWithTaints: [{key: a, value: b, effect: NoExecute}]}
    flags: ["--node-labels=cni-plugin=cilium,team=x", "--register-with-taints=node.cilium.io/agent-not-ready=true:NoSchedule"]
"""
MIME = f"""MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="//"

--//
Content-Type: application/node.eks.aws

{CONFIG}
--//
Content-Type: text/x-shellscript

#!/bin/sh
echo hello
--//--
"""


@pytest.mark.parametrize("text", [CONFIG, MIME, json.dumps(yaml.safe_load(CONFIG))])
@pytest.mark.parametrize("encoded", [False, True])
def test_a_node_config_gives_labels_taints_pods_and_cluster(text: str, encoded: bool):
    found = parse(base64.b64encode(text.encode()).decode() if encoded else text)
    assert found.labels == {"cni-plugin": "cilium", "team": "x"}
    assert found.taints == [
        {"key": "a", "value": "b", "effect": "NoExecute"},
        {"key": "node.cilium.io/agent-not-ready", "value": "true", "effect": "NoSchedule"},
    ]
    assert (found.max_pods, found.cluster) == (29, "demo")


def test_a_bootstrap_script_gives_them_too():
    found = parse(
        "#!/bin/bash\n/etc/eks/bootstrap.sh demo --kubelet-extra-args "
        "'--node-labels=cni-plugin=aws --max-pods=17 --register-with-taints=k:NoSchedule'\n"
    )
    assert (found.cluster, found.labels, found.max_pods) == ("demo", {"cni-plugin": "aws"}, 17)
    assert found.taints == [{"key": "k", "effect": "NoSchedule"}]


def test_bottlerocket_settings_give_them_too():
    found = parse(
        '[settings.kubernetes]\ncluster-name = "demo"\nmax-pods = 20\n'
        '[settings.kubernetes.node-labels]\ncni-plugin = "aws"\n'
        '[settings.kubernetes.node-taints]\nk = ["v:NoSchedule"]\n'
    )
    assert (found.cluster, found.labels, found.max_pods) == ("demo", {"cni-plugin": "aws"}, 20)
    assert found.taints == [{"key": "k", "value": "v", "effect": "NoSchedule"}]


@pytest.mark.parametrize("text", ["", "#!/bin/sh\necho hello\n"])
def test_user_data_without_a_word_to_kubelet_says_nothing(text: str):
    found = parse(text)
    assert (found.labels, found.taints, found.max_pods, found.cluster) == ({}, [], None, None)


ROCKET = "[settings.kubernetes]\nmax-pods = 20\n"


@pytest.mark.parametrize(
    ("text", "family", "pods"),
    [
        (MIME, "amazon-linux-2023", 29),
        (MIME, "bottlerocket", None),
        (ROCKET, "bottlerocket", 20),
        (ROCKET, "amazon-linux-2023", None),
    ],
)
def test_a_system_makes_nothing_of_the_form_of_another_one(text: str, family: str, pods: int | None):
    assert parse(text, family).max_pods == pods
