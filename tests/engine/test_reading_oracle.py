"""What is read here is what kubectl reads, by kubectl's own libraries; the long version is tests.oracles.yaml_campaign."""

import pytest

from reading import scalars
from tests.oracles import yaml_campaign

pytestmark = pytest.mark.engine

SEED = 20251121


def test_no_document_has_a_value_here_that_it_does_not_have_to_kubectl():
    result = yaml_campaign.run(SEED, 8_000)
    print(result.summary())
    assert result.disagreements == []
    assert result.balanced()


def test_the_oracle_would_show_another_reading(monkeypatch):
    """A campaign that cannot fail proves nothing: with base 60, it must."""
    monkeypatch.setattr("reading.yaml_text.resolve", lambda text: 1222 if text == "20:22" else scalars.resolve(text))
    assert yaml_campaign.run(SEED, 3_000, stop_after=1).disagreements
