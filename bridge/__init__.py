"""The identity bridge: gives the pods of legacy nodes the identity that Cilium itself would give them.

To Cilium, a pod that no agent wires is an address of the world: rules that select pods do not find it. The bridge
writes, for each of them, the CiliumIdentity and the CiliumEndpoint that an agent would write if the pod ran on a node
of its own. What is written is decided without a cluster (`decide`); `process` carries it out; `ship` packs both for a
cluster.
"""
