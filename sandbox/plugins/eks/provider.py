"""The plugin `pulumi-resource-eks`: serves the remote component `eks:index:Cluster`."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from typing import Any, NoReturn

import pulumi
import pulumi.provider
from pulumi.provider.server import main as serve

from sandbox.plugins.eks.arguments import ArgumentError
from sandbox.plugins.eks.cluster import Cluster

VERSION = "4.4.0"


class EksProvider(pulumi.provider.Provider):
    """One component; the others of the package are named and refused."""

    def __init__(self) -> None:
        super().__init__(VERSION, '{"name":"eks","version":"4.4.0"}')

    def construct(
        self, name: str, resource_type: str, inputs: Any, options: pulumi.ResourceOptions | None = None
    ) -> pulumi.provider.ConstructResult:
        """Builds the component and its children."""
        if resource_type != "eks:index:Cluster":
            raise NotImplementedError(
                f"{resource_type} is not supported by this stand-in: use aws.eks.NodeGroup, aws.eks.Addon and "
                "aws.ec2.LaunchTemplate directly, or the real eks provider"
            )
        try:
            cluster = Cluster(name, inputs, options or pulumi.ResourceOptions())
        except ArgumentError as error:
            raise pulumi.InputPropertiesError(str(error), errors=[]) from error  # the SDK fails on None
        return pulumi.provider.ConstructResult(cluster.urn, cluster.state)

    def call(self, token: str, args: Any) -> pulumi.provider.CallResult:
        """No methods."""
        raise NotImplementedError(f"{token} is not supported by this stand-in: use the cluster's kubeconfig output")


def main() -> None:
    """Serves the engine until it ends this process, or is gone itself."""
    parent = os.getppid()

    def leave(*_: object) -> NoReturn:
        os._exit(0)

    def watch() -> None:
        while os.getppid() == parent:  # a killed engine tells nobody
            time.sleep(0.5)
        leave()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    threading.Thread(target=watch, daemon=True).start()
    gc.freeze()
    gc.enable()
    serve(EksProvider(), sys.argv[1:])
