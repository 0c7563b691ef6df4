"""What an answer of an API server is, what none is, and that nothing but Python is needed to read one."""

import subprocess
import sys
from pathlib import Path

import pytest

from kube.pages import pages
from kube.transport import KubeError, Obj, answer

ROOT = Path(__file__).parents[3]


def test_an_answer_is_an_object_and_says_when_to_come_back():
    found = answer(429, "Too Many Requests", b'{"message": "later"}', "3")
    assert (found.ok, found.retry_after, found.text) == (False, 3.0, "429 Too Many Requests: later")
    with pytest.raises(KubeError, match="429 Too Many Requests: later") as caught:
        found.value()
    assert caught.value.status == 429
    assert answer(200, "OK", b'{"kind": "Pod"}').value() == {"kind": "Pod"}
    assert answer(200, "OK", b"").value() == {}


@pytest.mark.parametrize("body", [b"<html>Log in</html>", b"[]", b"[" * 100_000, b"\xff", b'"ok"', b"null"])
def test_success_that_is_not_an_object_is_no_answer(body: bytes):
    """A proxy that asks to log in says 200 as well: read as an object, it would be an empty list."""
    found = answer(200, "OK", body)
    assert (found.ok, found.status) == (False, 0)
    with pytest.raises(KubeError, match="what answers is not an API server: 200 OK") as caught:
        found.value()
    assert caught.value.status == 0
    assert answer(503, "Service Unavailable", body).status == 503


@pytest.mark.parametrize("header", ["", None, "soon", "-5", "inf", "nan", "9" * 400, "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_a_retry_after_that_is_not_a_number_of_seconds_says_nothing(header: str | None):
    assert answer(429, "", b"{}", header).retry_after == 0.0


def test_a_list_ends_with_the_page_that_names_no_further_one():
    asked: list[str] = []
    given: list[Obj] = [{"items": [1], "metadata": {"continue": "a/b="}}, {"items": [2], "metadata": None}]

    def get(path: str) -> Obj:
        asked.append(path)
        return given[len(asked) - 1]

    found = [item for page in pages(get, "/api/v1/pods", {"labelSelector": "a=b"}, limit=7) for item in page["items"]]
    assert found == [1, 2]
    assert asked == [
        "/api/v1/pods?limit=7&labelSelector=a%3Db",
        "/api/v1/pods?limit=7&labelSelector=a%3Db&continue=a%2Fb%3D",
    ]


def test_python_alone_is_enough():
    """In the cluster no package is installed: neither are site packages read here."""
    modules = ", ".join(f"kube.{path.stem}" for path in sorted((ROOT / "kube").glob("*.py")) if path.stem != "__init__")
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {modules}"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, cwd="/")
