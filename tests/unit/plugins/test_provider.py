from typing import Any

import grpc
import pytest

from sandbox.plugins.operation import Diff, PartialFailure, ProviderError, State
from sandbox.plugins.proto import provider_pb2
from sandbox.plugins.provider import Provider
from sandbox.plugins.resource import Resource
from sandbox.plugins.values import UNKNOWN, decode, encode

URN = "urn:pulumi:dev::project::my:component:Parent$demo:index:Thing::name"


class Aborted(Exception):
    pass


class Context:
    """What gRPC hands to a servicer, as far as the base uses it."""

    def __init__(self) -> None:
        self.metadata: tuple[tuple[str, bytes], ...] = ()
        self.status: Any = None

    def code(self):
        return self.status

    def set_trailing_metadata(self, metadata):
        self.metadata = metadata

    def abort(self, code, details):
        self.status = code
        raise Aborted(details)


class Thing(Resource):
    computed = ("arn",)
    volatile = ("version",)
    force_new = ("name", "items[*].id")

    def create(self, op, inputs):
        if inputs.get("name") == "half":
            raise PartialFailure("half", {"name": "half"}, ["it does not start"])
        if inputs.get("name") == "broken":
            raise ProviderError("the name 'broken' is taken: choose another")
        return inputs["name"], {**inputs, "arn": f"arn:{inputs['name']}", "timeout": op.timeout}

    def read(self, op, id, state):
        return None if id == "gone" else State(id, {"name": id}, {"name": id, "arn": "a"})


@pytest.fixture
def provider():
    return Provider("demo", {"demo:index:Thing": Thing})


def diff(provider, before, news, **more: object):
    return provider.Diff(
        provider_pb2.DiffRequest(id="x", urn=URN, old_inputs=encode(before), news=encode(news), **more), Context()
    )


def test_the_type_is_the_last_of_the_urns_chain(provider):
    request = provider_pb2.CreateRequest(urn=URN, properties=encode({"name": "n"}), timeout=7)
    assert decode(provider.Create(request, Context()).properties) == {"name": "n", "arn": "arn:n", "timeout": 7}


def test_a_preview_of_a_create_leaves_computed_outputs_unknown(provider):
    request = provider_pb2.CreateRequest(urn=URN, properties=encode({"name": "n"}), preview=True)
    assert decode(provider.Create(request, Context()).properties) == {"name": "n", "arn": UNKNOWN}


def test_a_preview_of_an_update_keeps_stable_outputs_and_drops_inputs_that_left(provider):
    request = provider_pb2.UpdateRequest(
        urn=URN,
        olds=encode({"name": "n", "note": "x", "arn": "a", "version": "1"}),
        old_inputs=encode({"name": "n", "note": "x"}),
        news=encode({"name": "n"}),
        preview=True,
    )
    assert decode(provider.Update(request, Context()).properties) == {"name": "n", "arn": "a", "version": UNKNOWN}


def test_unchanged_inputs_are_no_difference_whatever_the_outputs_are(provider):
    same = {"name": "n"}
    assert (
        diff(provider, same, same, olds=encode({"name": "n", "arn": "a"})).changes
        == provider_pb2.DiffResponse.DIFF_NONE
    )


def test_a_change_of_a_force_new_input_replaces(provider):
    answer = diff(provider, {"name": "a", "items": [{"id": 1}]}, {"name": "a", "items": [{"id": 2}]})
    assert list(answer.replaces) == ["items[0].id"]
    assert answer.detailedDiff["items[0].id"].kind == provider_pb2.PropertyDiff.UPDATE_REPLACE
    assert answer.detailedDiff["items[0].id"].inputDiff
    assert list(answer.diffs) == ["items"]


def test_an_ignored_change_is_none(provider):
    answer = diff(provider, {"name": "a"}, {"name": "b"}, ignoreChanges=["name"])
    assert answer.changes == provider_pb2.DiffResponse.DIFF_NONE
    assert not answer.replaces


def test_delete_before_replace_is_asked_for_only_with_a_replacement(provider):
    class Fixed(Thing):
        def diff(self, op, state, news):
            return Diff({"note": "UPDATE"}, [], delete_before_replace=True)

    provider.resources["demo:index:Thing"] = Fixed(provider)
    assert not diff(provider, {}, {}).deleteBeforeReplace


def test_an_error_reaches_the_user_as_it_was_written(provider):
    context = Context()
    with pytest.raises(Aborted, match=r"^the name 'broken' is taken: choose another$"):
        provider.Create(provider_pb2.CreateRequest(urn=URN, properties=encode({"name": "broken"})), context)
    assert context.status == grpc.StatusCode.UNKNOWN


def test_an_unforeseen_error_names_the_plugin_and_the_place(provider):
    with pytest.raises(Aborted, match=r"the demo stand-in failed: KeyError\('name'\)[\s\S]*test_provider.py"):
        provider.Create(provider_pb2.CreateRequest(urn=URN, properties=encode({})), Context())


def test_a_partial_failure_carries_id_outputs_and_reasons(provider):
    context = Context()
    with pytest.raises(Aborted, match="it does not start"):
        provider.Create(provider_pb2.CreateRequest(urn=URN, properties=encode({"name": "half"})), context)
    ((key, packed),) = context.metadata
    assert key == "grpc-status-details-bin"
    # Field 3 of google.rpc.Status, the last thing in it, is an Any whose value is the failure.
    failure = provider_pb2.ErrorResourceInitFailed()
    any_type = b"type.googleapis.com/pulumirpc.ErrorResourceInitFailed"
    value = packed.split(any_type, 1)[1]
    assert value[0] == 0x12
    failure.ParseFromString(value[2:])
    assert (failure.id, list(failure.reasons)) == ("half", ["it does not start"])
    assert decode(failure.properties) == {"name": "half"}


def test_reading_what_is_gone_answers_without_an_id(provider):
    assert provider.Read(provider_pb2.ReadRequest(id="gone", urn=URN), Context()).id == ""
    assert decode(provider.Read(provider_pb2.ReadRequest(id="there", urn=URN), Context()).inputs) == {"name": "there"}


def test_an_unknown_type_is_refused_with_the_known_ones(provider):
    request = provider_pb2.CreateRequest(urn=URN.replace("Thing", "Other"))
    with pytest.raises(Aborted, match=r"no type 'demo:index:Other'; it has: demo:index:Thing"):
        provider.Create(request, Context())
