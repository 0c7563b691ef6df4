"""The engine's gRPC messages, without the Pulumi SDK around them.

Importing anything below ``pulumi`` runs the whole SDK's ``__init__`` (about a second of CPU), and every plugin is a
process of its own in every command. The generated modules need none of it: they are loaded through empty stand-in
packages, which are taken away again, so that a plugin which does need the SDK can still import it afterwards.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import types
from typing import Any

_PACKAGES = ("pulumi", "pulumi.runtime", "pulumi.runtime.proto")
_MODULES = ("provider_pb2", "provider_pb2_grpc", "engine_pb2", "engine_pb2_grpc", "plugin_pb2")
_LANGUAGE_MODULES = ("language_pb2", "language_pb2_grpc", "plugin_pb2")


def load(*names: str) -> list[Any]:
    """The generated modules of these names, e.g. ``provider_pb2``."""
    if "pulumi" in sys.modules:
        return [importlib.import_module(f"pulumi.runtime.proto.{name}") for name in names]
    spec = importlib.util.find_spec("pulumi")
    if spec is None or spec.origin is None:
        raise ImportError("the Pulumi SDK is not installed in this environment: pip install -r requirements.txt")
    root = os.path.dirname(spec.origin)
    for package in _PACKAGES:
        module = types.ModuleType(package)
        module.__path__ = [os.path.join(root, *package.split(".")[1:])]
        sys.modules[package] = module
    try:
        return [importlib.import_module(f"pulumi.runtime.proto.{name}") for name in names]
    finally:
        for package in _PACKAGES:
            del sys.modules[package]


provider_pb2, provider_pb2_grpc, engine_pb2, engine_pb2_grpc, plugin_pb2 = load(*_MODULES)


def load_language() -> list[Any]:
    """``language_pb2``, ``language_pb2_grpc`` and ``plugin_pb2``: only the language host needs them."""
    return load(*_LANGUAGE_MODULES)
