"""What a command reads before it starts: little, as a deploy starts this program seven times and more."""

import json
import subprocess
import sys

import pytest

from operations.commands import COMMANDS

HEAVY = ("boto3", "botocore", "kubernetes", "pydantic", "urllib3", "requests", "netpol.compare", "netpol.translate")
_LOADED = (
    "import json, sys; from operations.cli import parser; parser(sys.argv[1]); print(json.dumps(sorted(sys.modules)))"
)


def loaded(command: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", _LOADED, command], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout)
    return found


def test_policy_on_files_reads_no_client_of_a_cloud_or_a_cluster_and_no_proof():
    modules = loaded("policy")
    assert "netpol.model.world" in modules
    assert [name for name in HEAVY if name in modules] == []


@pytest.mark.parametrize("command", [c.name for c in COMMANDS])
def test_no_command_reads_the_client_of_the_cluster_before_it_needs_it(command):
    assert [name for name in ("kubernetes", "botocore.session") if name in loaded(command)] == []


def test_the_door_of_the_policy_room_gives_functions_also_where_floors_have_their_names():
    code = "import netpol.lint.lint, netpol.decide.flow; from netpol import decide, lint, translate; print(decide, lint, translate)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("<function") == 3
