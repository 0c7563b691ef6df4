"""The checks: one function for each `CheckId`, reading only.

A check is written as `Context -> Answer`; `@check` puts it into the registry and makes it answer `Evidence`: timed,
and *unknown* whenever it could not read what it needs.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from time import monotonic
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from kube.transport import KubeError
from migration.journeys import CheckId
from operations.access.connection import WrongClusterError
from operations.access.context import Context
from operations.evidence import Answer, Evidence, Finding, UnknownError, Verdict
from operations.exits import ended
from reading.failure import Failure

Ask = Callable[[Context], Evidence]
SUBJECTS: Final = (
    *("guard", "identity", "mark", "nodes", "legacy", "cilium", "cilium_config"),
    *("calico", "hand_over", "policies", "enforcement", "subnets", "surroundings", "workloads", "aws", "continuity"),
    "proof",
)
AGAIN: Final = "Deploy the stage that the stack is at again, with `pulumi up --refresh`"
"""Puts back what somebody changed: without a refresh the engine compares with its own state only."""
_registry: dict[CheckId, Ask] = {}


def check(name: CheckId) -> Callable[[Callable[[Context], Answer]], Ask]:
    """Register a function as the check `name`."""

    def register(question: Callable[[Context], Answer]) -> Ask:
        def ask(context: Context) -> Evidence:
            start = monotonic()
            answer = _answer(question, context)
            return Evidence(
                check=name,
                verdict=answer.verdict,
                summary=answer.summary,
                seconds=monotonic() - start,
                findings=(*answer.findings, *answer.unknown),
            )

        ask.__doc__ = question.__doc__
        _registry[name] = ask
        return ask

    return register


def registry() -> Mapping[CheckId, Ask]:
    """Every check that exists."""
    for subject in SUBJECTS:
        import_module(f"operations.checks.{subject}")
    return _registry


def overdue(name: CheckId, seconds: float) -> Evidence:
    """Evidence of a check that did not answer in time."""
    return Evidence(
        check=name,
        verdict=Verdict.UNKNOWN,
        summary=f"no answer within {seconds:.0f} s",
        seconds=seconds,
        findings=(Finding("the check", "took too long", "Run it alone: `check --check " + name + "`"),),
    )


def missing(name: CheckId) -> Evidence:
    """Evidence of a check that nobody wrote."""
    return Evidence(check=name, verdict=Verdict.UNKNOWN, summary="this check does not exist yet", seconds=0.0)


def _answer(question: Callable[[Context], Answer], context: Context) -> Answer:
    try:
        return question(context)
    except UnknownError as error:
        finding = error.finding
    except KubeError as error:
        fix = (
            "Give the caller's access entry the right to read it"
            if error.status in {401, 403}
            else "Try again; if it stays, look at the API server"
        )
        finding = Finding("Kubernetes API", str(error), fix)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        denied = code in {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
        finding = Finding("AWS", str(error), "Allow the caller this action" if denied else "Try again")
    except BotoCoreError as error:
        finding = Finding("AWS", str(error), "Check credentials, region and network")
    except TimeoutError as error:
        finding = Finding("the check", str(error), "Try again, or run it alone with --check")
    except WrongClusterError as error:
        finding = Finding("cluster", str(error), "")
    except Failure as error:  # declared by whoever raised it: the text says what to do
        finding = Finding("the check", error.told(), "")
    except Exception as error:  # an answer of a form that nobody foresaw must not pass, nor stop the others
        finding = _unforeseen(error)
    return Answer("could not be answered", unknown=(finding,))


def _unforeseen(error: Exception) -> Finding:
    """A file that cannot be read is no fault of the program; whatever else comes to here is."""
    try:
        return Finding("the check", ended(error).text, "")
    except Exception:
        return Finding("the check", f"{type(error).__name__}: {error}", "This is a fault of the program")
