"""The prover: proves again, between two gates, that every flow keeps its verdict, and says so in the cluster.

A gate proves once for each deploy; policies, namespaces and labels change in between. The prover follows them by
watches, keeps the proof up with each change, and publishes verdict, time and counterexample. What it decides asks
nobody (`known`, `judge`); `process` reads the cluster for it and publishes; `ship` packs it for a cluster.
"""
