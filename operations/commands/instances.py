"""`instances`: what instance types have, and how many pods their nodes hold; made anew from EC2."""

import argparse
import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from migration.rules import addressing, instances
from migration.rules.instances import InstanceType, Table
from operations.access.connection import Aws
from operations.exits import UsageError
from operations.say import say


def fill(command: Any) -> None:
    command.add_argument("types", nargs="*", metavar="TYPE", help="an instance type, such as m7g.large")
    command.add_argument("--refresh", type=Path, metavar="FILE", help="read all types from EC2 into the table FILE")
    command.add_argument("--region", help="left out: AWS_REGION")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show types, or write the table; exit code 1 when a type is not known."""
    if args.refresh is None:
        return _show(args.types)
    if args.types:
        raise UsageError("--refresh reads every type of the region: name none")
    region = args.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not region:
        raise UsageError("no region: give --region, or set AWS_REGION")
    return _refresh(args.refresh, Aws(region))


def _show(names: list[str]) -> int:
    table = instances.table()
    unknown = [name for name in names if name not in table.types]
    for name in unknown:
        say(f"{name} is not among the {len(table.types)} types of {table.read}. To read them anew: {instances.REFRESH}")
    shown = {name: _row(table.types[name]) for name in names if name in table.types}
    print(json.dumps({"source": table.source, "read": table.read, "types": shown}, indent=2))
    return 1 if unknown else 0


def _row(kind: InstanceType) -> dict[str, Any]:
    pods = {
        "vpcCni": addressing.vpc_cni_max_pods(kind),
        "cilium": addressing.cilium_max_pods(kind, prefix_delegation=False),
        "ciliumPrefixes": addressing.cilium_max_pods(kind, prefix_delegation=True) if kind.nitro else None,
    }
    return {**asdict(kind), "max_pods": pods}


def _refresh(path: Path, aws: Aws) -> int:
    """Read the types of a region into a table; those that the region does not have stay as they were."""
    before = instances.load(path if path.exists() else instances.FILE)
    answers = aws.pages("ec2", "describe_instance_types", "InstanceTypes")
    now = instances.from_ec2(
        answers, before, source=f"EC2 DescribeInstanceTypes, {aws.region}", read=f"{datetime.now(UTC):%Y-%m-%d}"
    )
    new, changed = now.types.keys() - before.types.keys(), _changed(before, now)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(now.text())
    temporary.replace(path)
    kept = len(before.types) - sum(answer["InstanceType"] in before.types for answer in answers)
    say(f"{len(answers)} types in {aws.region}: {len(new)} new, {len(changed)} changed; {kept} of other regions kept")
    print(json.dumps({"file": str(path), "new": sorted(new), "changed": sorted(changed), "types": len(now.types)}))
    return 0


def _changed(before: Table, now: Table) -> set[str]:
    return {name for name, kind in before.types.items() if now.types[name] != kind}
