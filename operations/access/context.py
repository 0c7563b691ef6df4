"""Which cluster is meant: the stack's configuration, its facts, and lazily made connections."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import reading
from kube.cluster import Cluster
from migration.facts import Facts
from migration.guarding.mark import Own
from migration.journeys import JOURNEYS, Journey, Piece, Stage
from migration.names import PROJECT
from migration.settings import Settings
from operations.access import own_state
from operations.access.connection import Aws, connect
from operations.exits import UsageError
from reading import Unreadable

FACTS_HINT: Final = "Run `python -m operations survey`, read the file it writes, commit it"


@dataclass(frozen=True, kw_only=True)
class Context:
    """Everything a check or a command needs to know. Made by `load`, or by tests from fakes."""

    stack: str
    settings: Settings
    facts: Facts | None
    """None for an owned cluster, and before the survey of an adopted one."""
    kube: Cluster
    aws: Aws
    directory: Path = Path()
    """Where Pulumi.yaml is."""
    config: Mapping[str, Any] | None = None
    """The whole `config:` section of the stack, other namespaces included."""
    stage: Stage | None = None
    """The stage whose checks are asked."""
    deadline: float = float("inf")
    """`time.monotonic()` at which the caller gives up waiting for this check."""
    deploying: bool = False
    """Whether whoever asks may run commands in pods: a deploy, or somebody who is ready to wait. A preview is neither,
    and its program may be that of a pull request."""
    own: Callable[[], Own] = Own
    """What the stack's own state says about the mark; read when it is asked for.

    Raises:
        UnknownError: the state cannot be read.
    """

    @property
    def journey(self) -> Journey:
        return JOURNEYS[self.settings.journey]

    @property
    def cluster_name(self) -> str:
        return self.settings.cluster.name

    @property
    def adopted(self) -> bool:
        return self.settings.cluster.adopt

    def retires(self, piece: Piece) -> bool:
        """Whether the stage that is asked about removes a piece: a deploy that failed half-way may have done it."""
        return self.stage is not None and piece not in self.stage.pieces

    def surveyed(self) -> Facts:
        """The facts of an adopted cluster.

        Raises:
            UsageError: there are none.
        """
        if self.facts is None:
            raise UsageError(f"{facts_path(self.directory, self.stack)} does not exist. {FACTS_HINT}")
        return self.facts

    def again(self) -> "Context":
        """The same with nothing read yet."""
        return replace(self, kube=self.kube.again(), aws=self.aws.again())

    def until(self, deadline: float) -> "Context":
        return replace(self, kube=self.kube.until(deadline), deadline=deadline)

    @classmethod
    def load(
        cls,
        stack: str | None = None,
        directory: Path | None = None,
        *,
        cluster: str | None = None,
        surveys: bool = False,
    ) -> "Context":
        """The context of a stack, from `Pulumi.<stack>.yaml` and `facts.<stack>.yaml` of a directory.

        Args:
            stack: see `stack_name`.
            directory: where Pulumi.yaml is; None: the working directory.
            cluster: name of the cluster that is meant. A stack that does not name it was renamed since: the one that
                names it is taken.
            surveys: whether facts are to be read anew, so that the cluster may be another one than they are about.

        Raises:
            UsageError: no stack can be told, or a file is missing or damaged.
            migration.settings.InvalidSettings, migration.facts.InvalidFacts: with everything that is wrong.
        """
        directory = directory or Path.cwd()
        name = stack_name(stack, directory)
        if cluster is not None:
            name = renamed(name, cluster, directory)
        config = read_config(directory / f"Pulumi.{name}.yaml")
        settings = Settings.from_pulumi(
            {
                key.removeprefix(f"{PROJECT}:"): value if isinstance(value, str) else json.dumps(value)
                for key, value in config.items()
                if key.startswith(f"{PROJECT}:")
            }
        )
        path = facts_path(directory, name)
        facts = Facts.load(path) if settings.cluster.adopt and path.exists() else None
        aws = Aws(_region(config, name))
        arn = facts.cluster.arn if facts is not None and not surveys else ""
        return cls(
            stack=name,
            settings=settings,
            facts=facts,
            aws=aws,
            kube=Cluster(lambda: connect(aws, settings.cluster.name, arn=arn)),
            directory=directory,
            config=config,
            own=lambda: own_state.own(name, directory),
        )


def facts_path(directory: Path, stack: str) -> Path:
    return directory / f"facts.{stack}.yaml"


def stack_name(given: str | None, directory: Path) -> str:
    """The stack: as given, else PULUMI_STACK, else the only one with a file. "org/project/name" counts as "name".

    Raises:
        UsageError: it cannot be told; the text lists the stacks.
    """
    name = given or os.environ.get("PULUMI_STACK")
    if name:
        return name.rsplit("/", 1)[-1]
    known = sorted(path.name.split(".", 1)[1].removesuffix(".yaml") for path in directory.glob("Pulumi.*.yaml"))
    if len(known) == 1:
        return known[0]
    listed = f"one of: {', '.join(known)}" if known else f"but {directory} has no Pulumi.<stack>.yaml"
    raise UsageError(f"name the stack with --stack or PULUMI_STACK, {listed}")


def renamed(stack: str, cluster: str, directory: Path) -> str:
    """The stack whose file names a cluster: `stack` itself where it does, else the only one.

    Raises:
        UsageError: none does, or several do.
    """
    naming = [
        path.name.split(".", 1)[1].removesuffix(".yaml")
        for path in sorted(directory.glob("Pulumi.*.yaml"))
        if _cluster(path) == cluster
    ]
    if stack in naming:
        return stack
    if len(naming) == 1:
        return naming[0]
    found = f"{', '.join(naming)} do" if naming else "no other file here does"
    raise UsageError(f"Pulumi.{stack}.yaml does not name the cluster {cluster}; {found}. Put the stack's file back")


def _cluster(path: Path) -> str | None:
    """Name of the cluster in a stack's file; None where it has none that can be read."""
    try:
        found = read_config(path).get(f"{PROJECT}:cluster")
        found = reading.json_value(found) if isinstance(found, str) else found
    except (UsageError, ValueError):
        return None
    name = found.get("name") if isinstance(found, dict) else None
    return name if isinstance(name, str) else None


def read_config(path: Path) -> dict[str, Any]:
    """The `config:` section of a stack's file.

    Raises:
        UsageError: the file is missing, damaged, or has a secret where this program needs a plain value.
    """
    try:
        content = reading.value(reading.text_of(path), str(path), strictly=True)
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist: no such stack here") from None
    except Unreadable as error:
        raise UsageError(str(error)) from None
    if not isinstance(content, dict | None):
        raise UsageError(f"{path} is not a mapping. Write `config:` and the settings below it")
    config = (content or {}).get("config") or {}
    if not isinstance(config, dict):
        raise UsageError(f"{path}: `config` must be a mapping")
    for key, value in config.items():
        if key.startswith(f"{PROJECT}:") and isinstance(value, dict) and "secure" in value:
            raise UsageError(f"{path}: {key} is encrypted; this program needs it as a plain value")
    return config


def _region(config: Mapping[str, Any], stack: str) -> str:
    region = config.get("aws:region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not region:
        raise UsageError(f"no region: set aws:region in Pulumi.{stack}.yaml, or AWS_REGION")
    return str(region)
