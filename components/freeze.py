"""The policy freeze: while both engines enforce, Calico's policies change through this stack or not at all."""

from collections.abc import Sequence

import pulumi
import pulumi_kubernetes as kubernetes

from components.common import Component, token
from migration.names import FREEZE_POLICY, MAY_GO

_GROUPS = ["crd.projectcalico.org", "projectcalico.org"]
_RESOURCES = ["networkpolicies", "globalnetworkpolicies", "networksets", "globalnetworksets", "tiers"]
_CONTROLLERS = [
    "system:serviceaccount:kube-system:namespace-controller",
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:serviceaccount:tigera-operator:tigera-operator",
    "system:serviceaccount:calico-system:calico-kube-controllers",
    "system:serviceaccount:calico-apiserver:calico-apiserver",
]
_MESSAGE = (
    "Calico policies are frozen while this cluster moves to Cilium: both engines change together or not at all. "
    "Change the files under policies/network/calico and policies/network/cilium and deploy them with `pulumi up`"
)


class PolicyFreeze(Component):
    """A ValidatingAdmissionPolicy: the API server itself refuses, no webhook has to be up.

    Deploys are told apart by the field manager of their writes; a delete carries none, so what the stack deletes is
    annotated one stage before. This keeps people from slipping, it is no barrier against an administrator.
    Calico comes after `resources`, so that it goes before the freeze does: no moment with one and without the other.
    """

    def __init__(self, *, protect: bool, provider: pulumi.ProviderResource, after: Sequence[pulumi.Resource]) -> None:
        super().__init__(token("policy", "PolicyFreeze"), FREEZE_POLICY, after=after, provider=provider)
        controllers = ", ".join(f"'{name}'" for name in _CONTROLLERS)
        policy = kubernetes.admissionregistration.v1.ValidatingAdmissionPolicy(
            FREEZE_POLICY,
            metadata={"name": FREEZE_POLICY},
            spec={
                "failurePolicy": "Fail",
                "matchConstraints": {
                    "resourceRules": [
                        {
                            "apiGroups": _GROUPS,
                            "apiVersions": ["*"],
                            "operations": ["CREATE", "UPDATE", "DELETE"],
                            "resources": _RESOURCES,
                        }
                    ]
                },
                "matchConditions": [
                    {"name": "not-a-controller", "expression": f"!(request.userInfo.username in [{controllers}])"}
                ],
                "validations": [
                    {
                        "expression": (
                            "request.operation == 'DELETE' "
                            f"? oldObject.metadata.?annotations[?'{MAY_GO}'].orValue('') == 'true' "
                            ": request.?options.?fieldManager.orValue('').startsWith('pulumi')"
                        ),
                        "message": _MESSAGE,
                        "reason": "Forbidden",
                    }
                ],
            },
            opts=self.kubernetes_child(protect=protect),
        )
        binding = kubernetes.admissionregistration.v1.ValidatingAdmissionPolicyBinding(
            FREEZE_POLICY,
            metadata={"name": FREEZE_POLICY},
            spec={"policyName": FREEZE_POLICY, "validationActions": ["Deny"]},
            opts=self.kubernetes_child(after=[policy], protect=protect),
        )
        self.resources: list[pulumi.Resource] = [policy, binding]
        self.register_outputs({})
