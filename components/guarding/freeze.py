"""The policy freeze: while both engines enforce, Calico's policies change through this stack or not at all."""

import hashlib
import json
from collections.abc import Sequence

import pulumi
import pulumi_command as command
import pulumi_kubernetes as kubernetes

from components.common import Component, token
from components.guarding.gate import operations
from migration.guarding import freeze
from migration.manifests import Manifest
from migration.names import FREEZE_POLICY

IN_FORCE, KEPT = "freeze-in-force", freeze.KEPT
_PROVED = "proved"
"""Makes the command another one than that of versions whose records no proof stands behind."""


def frozen(
    stack: str, *, protect: bool, provider: pulumi.ProviderResource, after: Sequence[pulumi.Resource]
) -> list[pulumi.Resource]:
    """The freeze, in force."""
    return PolicyFreeze(stack, protect=protect, provider=provider, after=after).resources


def kept_policies(stack: str, files: Sequence[Manifest], *, after: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
    """The record of what is frozen."""
    return [Kept(stack, files, after=after).command]


class PolicyFreeze(Component):
    """ValidatingAdmissionPolicies: the API server itself refuses, no webhook has to be up.

    A deploy is told apart by who makes it and by the field manager of its writes; a delete carries none, so what the
    stack deletes is annotated one stage before. This keeps people from slipping, it is no barrier against an
    administrator who deletes the binding: `calico-unchanged` finds what was changed meanwhile.
    Calico comes after `resources`, so that it goes before the freeze does: no moment with one and without the other.
    """

    def __init__(
        self, stack: str, *, protect: bool, provider: pulumi.ProviderResource, after: Sequence[pulumi.Resource]
    ) -> None:
        super().__init__(token("policy", "PolicyFreeze"), FREEZE_POLICY, after=after, provider=provider)
        bindings = freeze.bindings()
        self.resources: list[pulumi.Resource] = []
        for name, spec in freeze.policies().items():
            policy = kubernetes.admissionregistration.v1.ValidatingAdmissionPolicy(
                name, metadata={"name": name}, spec=spec, opts=self.kubernetes_child(protect=protect)
            )
            binding = kubernetes.admissionregistration.v1.ValidatingAdmissionPolicyBinding(
                name,
                metadata={"name": name},
                spec=bindings[name],
                opts=self.kubernetes_child(after=[policy], protect=protect),
            )
            self.resources += [policy, binding]
        in_force = command.local.Command(
            IN_FORCE,
            create=operations("freeze", "wait", "--stack", stack),
            triggers=[_digest([freeze.policies(), bindings])],
            opts=self.child(after=self.resources, custom_timeouts=pulumi.CustomTimeouts(create="10m")),
        )
        self.resources.append(in_force)
        self.register_outputs({})


class Kept(Component):
    """What was proved of the frozen policies, kept in the state; on a cluster of somebody else also the way to change
    them.

    Its output is what gates compare with. It is made anew when the files of Calico's policies change, and refuses when
    anything else than these files has changed since, or when what there is now would change the verdict of a flow.
    """

    def __init__(self, stack: str, files: Sequence[Manifest], *, after: Sequence[pulumi.Resource]) -> None:
        super().__init__(token("policy", "Kept"), KEPT, after=after)
        digest = _digest([_PROVED, freeze.file_digests(files)])
        self.command = command.local.Command(
            KEPT,
            create=operations("freeze", "keep", "--stack", stack, "--files", digest),
            opts=self.child(custom_timeouts=pulumi.CustomTimeouts(create="10m", update="10m")),
        )
        self.register_outputs({})


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
