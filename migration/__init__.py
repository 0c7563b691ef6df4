"""What a cluster should look like, as a pure function of settings, facts and stage.

Nothing here talks to Pulumi, Kubernetes or AWS. Components turn the values into resources; operations ask the
live cluster whether the next stage may begin.
"""
