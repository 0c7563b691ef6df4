# ruff: noqa: N802 the protocol names its calls
"""The language host: runs the project's Python program for the engine, in this very process.

The real host starts an interpreter of the project's virtual environment; here the host *is* that interpreter, which
saves a process and the second import of the SDK. ``runtime.options.virtualenv`` is therefore checked, not started.
"""

from __future__ import annotations

import asyncio
import logging
import os
import runpy
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2

from sandbox.plugins.process import GRPC_OPTIONS, run_until_orphaned
from sandbox.plugins.proto import load_language

language_pb2, language_pb2_grpc, plugin_pb2 = load_language()


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):  # type: ignore[misc, name-defined]
    """What the engine asks of a language; everything that generates code is left out."""

    def Handshake(self, request: Any, context: Any) -> Any:
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version="0.0.0")

    def About(self, request: Any, context: Any) -> Any:
        return language_pb2.AboutResponse(executable=sys.executable, version=sys.version.split()[0])

    def RuntimeOptionsPrompts(self, request: Any, context: Any) -> Any:
        return language_pb2.RuntimeOptionsResponse()

    def GetRequiredPlugins(self, request: Any, context: Any) -> Any:
        return language_pb2.GetRequiredPluginsResponse()

    def GetRequiredPackages(self, request: Any, context: Any) -> Any:
        # None: the engine then starts each provider when the first resource of its package is registered.
        return language_pb2.GetRequiredPackagesResponse()

    def GetProgramDependencies(self, request: Any, context: Any) -> Any:
        return language_pb2.GetProgramDependenciesResponse()

    def InstallDependencies(self, request: Any, context: Any) -> Any:
        yield language_pb2.InstallDependenciesResponse(
            stderr=f"the sandbox runs programs with {sys.executable}; nothing is installed\n".encode()
        )

    def Cancel(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def Run(self, request: Any, context: Any) -> Any:
        root = request.info.root_directory
        virtualenv = dict(request.info.options).get("virtualenv") if request.info.HasField("options") else None
        refusal = wrong_environment(root, virtualenv)
        if refusal:
            return language_pb2.RunResponse(error=refusal)
        return run_program(request)


def wrong_environment(root: str, virtualenv: str | None) -> str | None:
    """Why a program of this directory cannot run here, given its ``runtime.options.virtualenv``; None when it can."""
    if not virtualenv:
        return None
    path = Path(root, virtualenv)
    if not (path / "bin" / "python").exists():
        return (
            f"the 'virtualenv' option in Pulumi.yaml is {virtualenv!r}, but {path} is no virtual environment: "
            f"create it (python3 -m venv {path}) and install requirements.txt into it"
        )
    if path.resolve() != Path(sys.prefix).resolve():
        return (
            f"the 'virtualenv' option in Pulumi.yaml is {virtualenv!r} ({path.resolve()}), but the sandbox's language "
            f"host runs in {sys.prefix}: start the sandbox with {path / 'bin' / 'python'}"
        )
    return None


def program_path(info: Any) -> str:
    """The file or directory that is run: the project directory, or its ``main``."""
    return os.path.normpath(os.path.join(info.program_directory, info.entry_point or "."))


def run_program(request: Any) -> Any:
    """Runs the program against the engine of the request. Whatever went wrong has been shown when this returns."""
    import pulumi  # noqa: PLC0415 slow: the port is announced first
    import pulumi.runtime  # noqa: PLC0415

    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # unfinished tasks are normal when a program fails
    pulumi.runtime.configure(
        pulumi.runtime.Settings(
            monitor=request.monitor_address,
            engine=request.args[0] if request.args else sys.argv[-1],
            project=request.project,
            stack=request.stack,
            parallel=request.parallel,
            dry_run=request.dryRun,
            organization=request.organization or "organization",
            root_directory=request.info.root_directory,
        )
    )
    pulumi.runtime.set_all_config(dict(request.config), list(request.configSecretKeys))
    path = program_path(request.info)
    directory = path if os.path.isdir(path) else os.path.dirname(path)
    os.chdir(request.pwd or request.info.program_directory)
    sys.path.insert(0, directory)
    sys.argv = [path, *request.args[1:]]

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.set_default_executor(ThreadPoolExecutor(max_workers=max(request.parallel, 1) * 4))

    def program() -> None:
        runpy.run_path(path, run_name="__main__")

    failed = language_pb2.RunResponse(bail=True)  # the engine shows nothing of its own
    try:
        loop.run_until_complete(pulumi.runtime.run_in_stack(program))
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return failed
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.UNAVAILABLE:  # unavailable: the engine has stopped, and says why itself
            pulumi.log.error(f"the engine refused a call: {error.details()}")
        return failed
    except SystemExit as error:
        return failed if error.code else language_pb2.RunResponse()
    except BaseException as error:
        pulumi.log.error(f"Program failed with an unhandled exception:\n{user_traceback(error, directory)}")
        return failed
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        sys.stdout.flush()
        sys.stderr.flush()
    return language_pb2.RunResponse()


def user_traceback(error: BaseException, directory: str) -> str:
    """The traceback from the program's first own line on, without the host's and the SDK's way there."""
    frame = error.__traceback__
    while frame is not None and not frame.tb_frame.f_code.co_filename.startswith(directory + os.sep):
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame or error.__traceback__))


def main() -> None:
    # One worker: a program owns its process (working directory, sys.path, the SDK's settings).
    server = grpc.server(ThreadPoolExecutor(max_workers=4), options=GRPC_OPTIONS)
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageHost(), server)
    threading.Thread(target=__import__, args=("pulumi",), daemon=True).start()  # while the engine prepares the run
    run_until_orphaned(server, lambda: None)


if __name__ == "__main__":
    main()
