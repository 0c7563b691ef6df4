"""Bad input gets one declared error, whoever reads it. A minute of it is `tests/faults/test_parsers.py`."""

import contextlib
import socket
import time
from dataclasses import replace

import pytest

from operations import cli
from operations.recover import locks
from tests.fuzz.parsers import PARSERS, fuzz
from tests.unit.migration.examples import raw
from tests.unit.netpol.worlds import docs, gnp


@pytest.mark.parametrize("name", PARSERS)
def test_bad_input_ends_in_a_declared_error(name):
    assert fuzz(name, seconds=0.4) > 0


SEEN = {
    "an empty stage": ("settings from Pulumi", {"stage": "", "cluster": "x"}, "stage"),
    "half an object as a stage": ("settings from Pulumi", {"stage": "{x", "journey": "replace"}, "stage"),
    "a date in a stack file": ("stack file", b"config:\n  eks-cilium:stage: 2001-99-99\n", "Put it in quotes"),
    "a stack file of another encoding": ("stack file", "config: {}".encode("utf-16"), "not UTF-8"),
    "a stack file that is a list": ("stack file", b"- a", "is not a mapping"),
    "nested facts": ("facts", b"[" * 100_000, "nested more than"),
    "facts of bytes": ("facts", b"a: \xff", ":1: byte 0xff is not UTF-8"),
    "a list as a kind": ("manifests", b"kind: [a]\napiVersion: crd.projectcalico.org/v1", "does not belong"),
    "400 parentheses": ("selectors", "(" * 400 + "has(a)" + ")" * 400, "more than 50 parentheses"),
    "a bomb in an add-on": ("add-on values", "a: &a [x,x,x]\n" + "".join(f"b{n}: &b{n} [*{f'b{n - 1}' if n else 'a'}{f', *b{n - 1}' * 8 if n else ''}]\n" for n in range(40)), "repeats too much"),
    "an own state of numbers": ("--own", '{"id": 3}', "id is 3"),
    "a deep own state": ("--own", "[" * 100_000, "nested"),
    "an own state with a wrong word": ("--own", '{"idd": "a"}', "there is no 'idd'"),
    "no node budget": ("node budget", "²%", "moves no node"),
    "a state of lists": ("exported state", {"deployment": {"resources": [[]]}}, "without URN or type"),
    "a mark of numbers": ("mark", {"id": 3}, "its id is int"),
    "a mark with an odd attempt": ("mark", {"id": "a", "attempt": "²"}, "not a number"),
}  # fmt: skip


@pytest.mark.parametrize("case", SEEN)
def test_what_was_seen_to_fail_says_what_is_wrong(case):
    name, value, expected = SEEN[case]
    with pytest.raises(PARSERS[name].declared) as refused:
        PARSERS[name].read(value)
    assert expected in str(refused.value)


@pytest.mark.parametrize("pid", ["-1", "1e400", '"x"', "[]", "null", "99999999999999999999", "true", "0.5"])
def test_a_lock_with_an_odd_process_is_a_lock_that_nobody_here_holds(tmp_path, pid):
    path = tmp_path / ".pulumi/locks/organization/eks-cilium/dev/a.json"
    path.parent.mkdir(parents=True)
    path.write_text(f'{{"pid": {pid}, "hostname": "{socket.gethostname()}"}}')
    (lock,) = locks.read(f"file://{tmp_path}", "eks-cilium", "dev")
    assert not lock.runs


WRONG_NUMBERS = [
    ["check", "--wait", "nan"],
    ["check", "--wait", "inf"],
    ["check", "--wait=-1"],
    ["check", "--wait", "1e9"],
    ["check", "--own", "{"],
    ["refresh", "run", "--to", "cilium", "--deadline", "nan"],
    ["refresh", "run", "--to", "cilium", "--deadline", "0"],
    ["refresh", "run", "--to", "cilium", "--metrics", "65536"],
    ["refresh", "run", "--to", "cilium", "--metrics", "²"],
    ["policy", "explain", "--from", "a/b", "--to", "a/c", "--port", "99999"],
    ["policy", "explain", "--from", "a/b", "--to", "a/c", "--icmp-type", "256"],
    ["policy", "prove", "--after", "x", "--most", "0"],
    ["guard", "wait", "--attempt", "9" * 5000],
]


@pytest.mark.parametrize("arguments", WRONG_NUMBERS, ids=range(len(WRONG_NUMBERS)))
def test_a_number_out_of_bounds_is_a_wrong_command(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.parser().parse_args(arguments)
    assert stopped.value.code == 64
    said = capsys.readouterr().err
    assert "from" in said or "deploy says" in said
    assert len(said) < 2_000


@pytest.mark.parametrize("name", ["\0", "a" * 300, "x/../../y", " ", "ü"])
def test_a_stack_that_is_no_file_is_a_wrong_command(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["check", "--stack", name]) == 64
    assert "Pulumi." in capsys.readouterr().err


def test_a_fuzzer_that_is_given_a_parser_with_a_fault_finds_it(monkeypatch):
    monkeypatch.setitem(PARSERS, "faulty", replace(PARSERS["mark"], read=lambda value: int(value.get("attempt", 0))))
    with pytest.raises((TypeError, ValueError, ExceptionGroup)):
        fuzz("faulty", seconds=5)


def _network(count: int) -> dict[str, object]:
    blocks = [f"10.{n // 256}.{n % 256}.0/24" for n in range(count)]
    return {"vpcId": "vpc-0", "subnetIds": ["subnet-1", "subnet-2"], "vpcCidrs": blocks, "peerCidrs": blocks}


def _cilium(count: int, **over: object) -> dict[str, object]:
    return {"groups": [{"name": f"w{n}", "size": 1, **over} for n in range(count)]}


def _rule(field: str, values: list[str]) -> str:
    return gnp(
        f"{{selector: all(), egress: [{{action: Allow, protocol: TCP, destination: {{{field}: [{', '.join(values)}]}}}}]}}"
    )


GROWING = {
    "blocks": ("settings", lambda n: raw(network=_network(n))),
    "unknown keys": ("settings", lambda n: raw(**{f"key{i}": 1 for i in range(n)})),
    "unknown keys of groups": ("settings", lambda n: raw(cilium=_cilium(n, siz=1))),
    "wrong sizes": ("settings", lambda n: raw(cilium=_cilium(n, size="x"))),
    "unknown values of the chart": ("settings", lambda n: raw(cilium=_cilium(1) | {"values": {f"key{i}": 1 for i in range(n)}})),
    "terms of a selector": ("selectors", lambda n: " || ".join(["a == 'b'"] * n)),
    "spaces of a selector": ("selectors", lambda n: "a not" + " " * 100 * n + "x"),
    "policies": ("policy files", lambda n: docs(*[gnp("{selector: all()}", name=f"g{i}") for i in range(n // 4)]).encode()),
    "networks": ("policy files", lambda n: _rule("nets", [f"10.{i // 256}.{i % 256}.0/24" for i in range(n)]).encode()),
    "ports": ("policy files", lambda n: _rule("ports", [str(i) for i in range(n)]).encode()),
}  # fmt: skip


@pytest.mark.growth
@pytest.mark.parametrize("kind", GROWING)
def test_four_times_the_input_takes_about_four_times_as_long(kind):
    name, made = GROWING[kind]

    def seconds(size: int) -> float:
        value, times = made(size), []
        for _ in range(2):
            began = time.process_time()
            with contextlib.suppress(*PARSERS[name].declared):
                PARSERS[name].read(value)
            times.append(time.process_time() - began)
        return min(times)

    small, large = seconds(750), seconds(3_000)
    assert large < max(8 * small, 0.2)
    assert large < 5
