"""Verdicts on constructed runs: supported, not supported, cannot tell."""

from __future__ import annotations

from typing import Any

import invented
import pytest

from benchgraft.paper.claims import Claim, above, at_least
from benchgraft.statistics.estimates import Estimate
from benchgraft.tasks.report import summarise


def claims(records: list[Any]) -> dict[str, Claim]:
    return {claim.name: claim for claim in summarise(records).claims}


def verdicts(**options: Any) -> dict[str, str]:
    return {name: claim.verdict for name, claim in claims(invented.whole_folder(**options)).items()}


@pytest.mark.parametrize(
    ("low", "high", "is_above", "is_as_much"),
    [
        (12.0, 14.0, "supported", "supported"),
        (5.0, 20.0, "supported", "cannot tell"),
        (2.0, 4.0, "supported", "not supported"),
        (0.5, 2.0, "cannot tell", "not supported"),
        (0.5, 20.0, "cannot tell", "cannot tell"),
        (0.3, 0.6, "not supported", "not supported"),
        (None, None, "cannot tell", "cannot tell"),
    ],
)
def test_verdict_needs_the_whole_interval(
    low: float | None, high: float | None, is_above: str, is_as_much: str
) -> None:
    estimate = Estimate(value=3.0, low=low, high=high, method="")
    assert above(estimate, 1.0) == is_above
    assert at_least(estimate, 11.5) == is_as_much


def test_speed_is_judged_cold_since_the_paper_had_no_cache() -> None:
    slow = claims(invented.whole_folder(cold_seconds=4.0, warm_seconds=0.5))
    assert slow["stage 3 faster than scratch"].verdict == "supported"
    assert slow["stage 3 about 12 times faster"].verdict == "not supported"
    assert slow["stage 3 about 12 times faster"].figure.startswith("cold: 5.00x")
    assert verdicts(cold_seconds=1.0)["stage 3 about 12 times faster"] == "supported"
    assert verdicts(cold_seconds=1.74)["stage 3 about 12 times faster"] == "cannot tell"
    assert verdicts(cold_seconds=40.0)["stage 3 faster than scratch"] == "not supported"


def test_accuracy_is_judged_by_runs_and_source_classes_together() -> None:
    much = verdicts(transfer_accuracy=0.99, scratch_accuracy=0.90)
    assert (much["transfer more accurate"], much["1.5 points more accurate"]) == ("supported", "supported")
    same = verdicts(transfer_accuracy=0.95, scratch_accuracy=0.95)
    assert same["transfer more accurate"] == "cannot tell"
    worse = verdicts(transfer_accuracy=0.90, scratch_accuracy=0.97)
    assert (worse["transfer more accurate"], worse["1.5 points more accurate"]) == (
        "not supported",
        "not supported",
    )


def test_later_improvement_is_judged_at_the_papers_ten_retrainings() -> None:
    # preparation 330 s: scratch of 20 s pays it back in about 18 retrainings, of 60 s in 6, of 36 s in 10
    assert verdicts(scratch_seconds=20.0)["transfer if improved later"] == "not supported"
    assert verdicts(scratch_seconds=60.0)["transfer if improved later"] == "supported"
    assert verdicts(scratch_seconds=36.0)["transfer if improved later"] == "cannot tell"


def test_later_improvement_is_not_supported_by_a_less_accurate_model() -> None:
    claim = claims(invented.whole_folder(scratch_seconds=60.0, transfer_accuracy=0.90, scratch_accuracy=0.97))
    assert claim["transfer if improved later"].verdict == "not supported"
    assert "accuracy is lower" in claim["transfer if improved later"].figure


def test_scratch_for_one_model_is_judged_by_the_cost_of_one_model() -> None:
    assert verdicts()["scratch if made once"] == "supported"
    assert verdicts(scratch_seconds=600.0)["scratch if made once"] == "not supported"


def test_transfer_that_is_slower_never_pays() -> None:
    claim = claims(invented.whole_folder(cold_seconds=50.0))["transfer if improved later"]
    assert claim.verdict == "not supported"
    assert "never pays" in claim.figure


def test_one_run_an_arm_cannot_tell_and_says_why() -> None:
    found = claims(invented.whole_folder(1))
    assert {claim.verdict for claim in found.values()} == {"cannot tell"}
    assert "one run an arm: no interval" in found["stage 3 faster than scratch"].figure
    assert "one run an arm: no interval" in found["transfer more accurate"].figure


def test_preparation_timed_on_another_machine_supports_nothing() -> None:
    records = [
        invented.experiment(),
        *invented.preparation(given="models that come with the program", cpu="Another CPU"),
        *invented.paired_runs(10, scratch_seconds=60.0),
    ]
    found = claims(records)
    assert found["transfer if improved later"].verdict == "cannot tell"
    assert "timed on another machine" in found["transfer if improved later"].figure
    assert found["stage 3 faster than scratch"].verdict == "supported"


def test_nothing_measured_is_told_as_such() -> None:
    found = claims([invented.experiment()])
    assert {claim.verdict for claim in found.values()} == {"cannot tell"}
    assert len(found) == 7


def test_every_claim_carries_the_papers_own_figure_marked() -> None:
    for claim in claims(invented.whole_folder()).values():
        assert claim.source == "printed"
        assert "(computed)" in claim.published
