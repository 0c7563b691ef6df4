import os
import threading
import time

import pytest

from sandbox.plugins.command import CommandProvider
from sandbox.plugins.operation import Operation, ProviderError


@pytest.fixture
def provider(monkeypatch):
    made = CommandProvider()
    monkeypatch.setattr(made, "log", lambda *_, **__: None)
    return made


def run(provider, line, previous=None, timeout=0.0, **inputs: object):
    op = Operation(provider, timeout=timeout, stop=provider.cancelled)
    done = provider.run(op, line, inputs, previous or {})
    return done["stdout"], done["stderr"]


def test_output_loses_the_newlines_at_its_end_only(provider):
    assert run(provider, "printf ' a\\n\\nb\\n\\n'; echo no >&2") == (" a\n\nb", "no")


def test_environment_directory_and_input_reach_the_command(provider, tmp_path):
    out, _ = run(provider, "echo $A; pwd; cat", environment={"A": "x"}, dir=str(tmp_path), stdin="fed")
    assert out.splitlines() == ["x", str(tmp_path), "fed"]


def test_an_interpreter_gets_the_line_as_its_last_argument(provider):
    assert run(provider, "a  b", interpreter=["/bin/echo", "-n", "x"]) == ("x a  b", "")


def test_the_earlier_output_is_in_the_environment_unless_it_is_declined(provider):
    before = {"stdout": "old"}
    assert run(provider, "echo $PULUMI_COMMAND_STDOUT", before)[0] == "old"
    assert run(provider, "echo $PULUMI_COMMAND_STDOUT", before, addPreviousOutputInEnv=False)[0] == ""


def test_a_failure_shows_the_code_the_line_and_both_outputs(provider):
    with pytest.raises(ProviderError, match=r'^exit status 3: running "echo \\"a\\"; echo b >&2; exit 3":\n') as error:
        run(provider, 'echo "a"; echo b >&2; exit 3')
    assert sorted(str(error.value).splitlines()[1:]) == ["a", "b"]


def test_a_program_that_is_not_there_is_named(provider):
    with pytest.raises(ProviderError, match="cannot start '/no/such/program'"):
        run(provider, "x", interpreter=["/no/such/program"])


def test_a_background_child_does_not_hold_the_command_up(provider):
    started = time.monotonic()
    assert run(provider, "sleep 30 & echo done") == ("done", "")
    assert time.monotonic() - started < 5


def test_a_time_limit_ends_the_command_and_its_children(provider, tmp_path):
    mark = tmp_path / "pid"
    with pytest.raises(ProviderError, match=r"timed out after 0\.3 s"):
        run(provider, f"sleep 30 & echo $! > {mark}; wait", timeout=0.3)
    with pytest.raises(ProcessLookupError):
        wait_gone(int(mark.read_text()))


def test_cancelling_ends_the_command_and_its_children(provider, tmp_path):
    mark = tmp_path / "pid"
    threading.Timer(0.3, provider.cancelled.set).start()
    with pytest.raises(ProviderError, match="cancelled"):
        run(provider, f"sleep 30 & echo $! > {mark}; wait")
    with pytest.raises(ProcessLookupError):
        wait_gone(int(mark.read_text()))


def wait_gone(pid):
    for _ in range(50):
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:
            if stat.read().rsplit(")", 1)[1].split()[0] == "Z":  # dead, and init has not looked yet
                raise ProcessLookupError
        time.sleep(0.02)
