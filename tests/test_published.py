"""The paper's printed figures, and the audit of them, held to what the paper's table of facts says."""

from __future__ import annotations

import pytest

from benchgraft.paper.audit import Finding, audit, chance_of_fit, fitting_sizes, seconds_per_epoch
from benchgraft.paper.published import preparation_minutes, published


@pytest.fixture(scope="module")
def findings() -> dict[str, Finding]:
    return {finding.name: finding for finding in audit()}


def test_printed_tables_are_complete() -> None:
    paper = published()
    assert [len(table.minutes) for table in (paper.table_2, paper.table_3, paper.table_4, paper.table_5)] == [
        10,
        1,
        1,
        10,
    ]
    assert len(paper.table_2.accuracy) == len(paper.table_5.accuracy) == 10
    assert (paper.table_2.mean_minutes, paper.table_2.mean_accuracy) == (104.7879, 0.95019)
    assert (paper.table_5.mean_minutes, paper.table_5.mean_accuracy) == (8.5333, 0.96474)
    assert (paper.table_3.accuracy, paper.table_4.accuracy) == ([0.47080], [0.98681])
    assert preparation_minutes() == pytest.approx(1759.7)


def test_table_1_adds_up_and_each_count_follows_from_the_shapes(findings: dict[str, Finding]) -> None:
    table = published().table_1
    assert findings["parameters"].values["total"] == table.total_parameters == 952_931
    by_name = {layer.name: layer for layer in table.layers}
    inputs = {"conv2d_1": (5, 3), "conv2d_2": (3, 16), "conv2d_3": (3, 32), "conv2d_4": (3, 64)}
    for name, (kernel, channels) in inputs.items():
        filters = by_name[name].output[2]
        assert by_name[name].parameters == filters * (kernel * kernel * channels + 1), name
    for name, width in {"dense_1": 3 * 3 * 128, "dense_2": 512, "dense_3": 512}.items():
        assert by_name[name].parameters == by_name[name].output[0] * (width + 1), name
    for name in ("batch_normalization_1", "batch_normalization_2"):
        assert by_name[name].parameters == 4 * by_name[name].output[2], name


def test_table_2_means_fit_eleven_rows_and_not_the_ten(findings: dict[str, Finding]) -> None:
    ten, eleven = findings["table 2 means"], findings["eleventh row"]
    assert ten.status == "computed"
    assert ten.values["minutes"] == pytest.approx(105.7333, abs=5e-5)
    assert ten.values["accuracy"] == pytest.approx(0.95042, abs=5e-6)
    assert eleven.status == "inferred"
    assert eleven.values["minutes"] == pytest.approx(95.3333, abs=5e-5)
    assert eleven.values["epochs"] == 22
    assert eleven.values["accuracy"] == pytest.approx(0.94793, abs=5e-6)
    assert eleven.values["mean_of_eleven"] == pytest.approx(104.7879, abs=5e-5)


def test_table_5_means_are_those_of_its_rows(findings: dict[str, Finding]) -> None:
    assert findings["table 5 means"].values["minutes"] == pytest.approx(8.5333, abs=5e-5)
    assert findings["table 5 means"].values["accuracy"] == pytest.approx(0.96474, abs=5e-6)


@pytest.mark.parametrize(
    ("number", "unit", "epochs"),
    [
        (2, 260, [27, 24, 14, 27, 19, 21, 36, 30, 23, 23]),
        (5, 8, [61, 79, 81, 45, 81, 44, 60, 43, 67, 79]),
    ],
)
def test_times_are_whole_epochs(
    findings: dict[str, Finding], number: int, unit: int, epochs: list[int]
) -> None:
    assert findings[f"epochs of table {number}"].values == {"seconds_per_epoch": unit, "epochs": epochs}


def test_stage_3_took_more_and_much_cheaper_epochs(findings: dict[str, Finding]) -> None:
    cost = findings["cost of an epoch"]
    assert cost.status == "inferred"
    assert cost.values["epoch_cost_ratio"] == 32.5
    assert cost.values["epochs_ratio"] == pytest.approx(2.6, abs=0.05)


def test_table_5_fits_2249_images_and_table_2_fits_60498(findings: dict[str, Finding]) -> None:
    assert findings["set of table 5"].values["sizes"] == [2249, 4498]
    sizes = findings["set of table 2"].values["sizes"]
    assert isinstance(sizes, list)
    assert (min(sizes), max(sizes), len(sizes)) == (37162, 60498, 22)
    assert findings["different data"].status == "inferred"
    assert findings["different data"].values["fits"] == 1.0


def test_sizes_fit_as_counting_every_fraction_says() -> None:
    accuracies = [0.333, 0.667, 0.25]
    by_counting = [
        size
        for size in range(1, 40)
        if all(any(round(k / size, 3) == accuracy for k in range(size + 1)) for accuracy in accuracies)
    ]
    assert fitting_sizes(accuracies, 39, decimals=3) == by_counting == [12, 24, 36]


def test_chance_of_fit_is_that_of_random_accuracies() -> None:
    # 500 sizes of 3 decimals: half of all three-digit accuracies are some k / 500
    assert chance_of_fit(500, 1, decimals=3) == 0.5
    assert chance_of_fit(500, 10, decimals=3) == 0.5**10
    assert sum(500 in fitting_sizes([value / 1000], 500, decimals=3) for value in range(1000)) / 1000 >= 0.5


def test_ratios_recomputed(findings: dict[str, Finding]) -> None:
    assert findings["stage 1 to stage 2"].values["ratio"] == pytest.approx(4.68, abs=0.005)
    assert findings["scratch to stage 3"].values["printed_means"] == pytest.approx(12.28, abs=0.005)
    assert findings["accuracy gain"].values["printed_means"] == pytest.approx(1.455, abs=0.0005)


def test_break_even_is_the_19th_retraining_and_ten_cost_more_than_scratch(
    findings: dict[str, Finding],
) -> None:
    even, ten = findings["break-even"].values, findings["at ten retrainings"].values
    assert even["preparation"] == pytest.approx(1759.7)
    assert even["saved"] == pytest.approx(96.25, abs=0.005)
    assert even["exact"] == pytest.approx(18.28, abs=0.005)
    assert even["first"] == 19
    assert ten["printed_means"] == pytest.approx(1.76, abs=0.005)
    assert ten["rows"] == pytest.approx(1.74, abs=0.006)


def test_every_finding_is_marked() -> None:
    assert {finding.status for finding in audit()} <= {"printed", "computed", "inferred"}


def test_epoch_is_the_largest_whole_number_of_seconds_that_divides_all() -> None:
    assert seconds_per_epoch([1.0, 2.5, 4.0]) == 30
