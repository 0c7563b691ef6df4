"""Replicas of a program that is shipped, as processes: the pack of a cluster, the token of a service account."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml


class Replicas:
    """Processes by name, in a folder of their own.

    Args:
        api: the API server, by its clients (`bridge_cluster.Api`).
        folder: for the pack, the token, options and logs.
        account: service account of kube-system.
        pack: the file's name, and its bytes.
    """

    def __init__(
        self, api: Any, folder: Path, account: str, pack: tuple[str, bytes], python: str = sys.executable
    ) -> None:
        self.api, self.folder, self.account, self.python = api, folder, account, python
        folder.mkdir(parents=True, exist_ok=True)
        self.pack = folder / pack[0]
        self.pack.write_bytes(pack[1])
        cluster = yaml.safe_load((api.directory / "kubeconfig").read_text())["clusters"][0]["cluster"]
        self.server = cluster["server"]
        (folder / "ca.crt").write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
        self.renew_token()
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def renew_token(self) -> None:
        body = {"spec": {"expirationSeconds": 3600}}
        found = self.api.core.create_namespaced_service_account_token(self.account, "kube-system", body)
        (self.folder / "token").write_text(found.status.token)

    def command(self, word: str, options: Path, name: str = "", server: str = "") -> list[str]:
        """`WORD`, with options in a file."""
        return [
            *(self.python, "-I", "-B", str(self.pack), word),
            *("--options", str(options), "--server", server or self.server),
            *("--token", str(self.folder / "token"), "--ca", str(self.folder / "ca.crt")),
            *(("--name", name) if name else ()),
        ]

    def begin(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        """One replica; what it says goes to FOLDER/NAME.log."""
        with (self.folder / f"{name}.log").open("ab") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, env={"PATH": os.environ["PATH"]})
        self.running[name] = process
        return process

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(10)

    def stop(self, name: str) -> int:
        """As kubelet stops it: the exit code."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(30)

    def end(self) -> None:
        for name in list(self.running):
            self.kill(name)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


def get(port: int, path: str) -> tuple[int, str]:
    """Status and text of an answer over HTTP; status 0 where none came."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        return int(error.code), error.read().decode()
    except OSError as error:
        return 0, str(error)
