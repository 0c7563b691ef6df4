"""The kubeconfig that the component gives: a token from `aws eks get-token` for each call."""

from __future__ import annotations

import asyncio
import ssl
import urllib.error
import urllib.request
from typing import Any

import pulumi

_TRIES = 60
_PAUSE = 5.0


def kubeconfig(cluster: Any, endpoint: Any, credentials: Any, *, profile: bool) -> pulumi.Output[dict[str, Any]]:
    """The kubeconfig as an object. `credentials` may have `roleArn` and, used where `profile`, `profileName`."""

    def built(found: list[Any]) -> dict[str, Any]:
        name, server, authority, arn, options = found
        args = ["--region", arn.split(":")[3], "eks", "get-token", "--cluster-name", name, "--output", "json"]
        if (options or {}).get("roleArn"):
            args += ["--role", options["roleArn"]]
        if profile and (options or {}).get("profileName"):
            args += ["--profile", options["profileName"]]
        version = "client.authentication.k8s.io/v1beta1"
        environment = [{"name": "KUBERNETES_EXEC_INFO", "value": f'{{"apiVersion": "{version}"}}'}]
        command = {"apiVersion": version, "command": "aws", "args": args, "env": environment}
        reached = {"server": server, "certificate-authority-data": authority["data"]}
        return {
            "apiVersion": "v1",
            "clusters": [{"cluster": reached, "name": "kubernetes"}],
            "contexts": [{"context": {"cluster": "kubernetes", "user": "aws"}, "name": "aws"}],
            "current-context": "aws",
            "kind": "Config",
            "users": [{"name": "aws", "user": {"exec": command}}],
        }

    values = (cluster.name, endpoint, cluster.certificate_authority, cluster.arn, credentials)
    return pulumi.Output.all(*values).apply(built)


def reachable(endpoint: pulumi.Output[str]) -> pulumi.Output[str]:
    """The endpoint, once its /healthz answers (upstream: up to five minutes, then goes on all the same)."""

    async def waited(url: str) -> str:
        if not pulumi.runtime.is_dry_run():
            for _ in range(_TRIES):
                if await asyncio.to_thread(_healthy, url):
                    break
                pulumi.log.info("Waiting for cluster readiness...", ephemeral=True)
                await asyncio.sleep(_PAUSE)
        return url

    return endpoint.apply(waited)


def _healthy(url: str) -> bool:
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=1, context=unverified) as answer:  # noqa: S310 https
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False
