"""Sides follow from content alone, and no image is learned and tested on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from benchgraft.data.split import (
    NOWHERE,
    TEST,
    TRAIN,
    VALIDATION,
    assign,
    drop_shared,
    refuse_overlap,
)
from benchgraft.errors import DataError

digests_of = st.lists(st.integers(0, 2**64 - 1), max_size=40)
givens = st.sampled_from([-1, 0, 1])


@drawn(st.lists(st.tuples(st.integers(0, 2**64 - 1), givens)), st.lists(st.integers(0, 2**64 - 1)))
def test_old_images_keep_their_side_when_new_ones_arrive(old: list[tuple[int, int]], new: list[int]) -> None:
    digests = np.array([digest for digest, _ in old] + new, np.uint64)
    given = np.array([side for _, side in old] + [-1] * len(new), np.int8)

    before = assign(digests[: len(old)], given[: len(old)], 0.15, 0.15)
    after = assign(digests, given, 0.15, 0.15)

    assert (after[: len(old)] == before).all()


@drawn(digests_of, st.randoms(use_true_random=False))
def test_order_of_images_does_not_matter(values: list[int], random: object) -> None:
    digests = np.array(values, np.uint64)
    order = np.random.default_rng(0).permutation(len(values))
    given = np.full(len(values), -1, np.int8)

    assert (assign(digests[order], given, 0.2, 0.2) == assign(digests, given, 0.2, 0.2)[order]).all()


def test_shares_come_out_as_asked() -> None:
    digests = np.random.default_rng(0).integers(0, 2**64, 20_000, np.uint64)
    sides = assign(digests, np.full(20_000, -1, np.int8), 0.1, 0.2)

    shares = [float((sides == side).mean()) for side in (TRAIN, VALIDATION, TEST)]
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.01)


def test_given_test_images_stay_test_and_given_training_images_never_become_test() -> None:
    digests = np.random.default_rng(0).integers(0, 2**64, 1000, np.uint64)
    given = np.repeat(np.array([0, 1], np.int8), 500)

    sides = assign(digests, given, 0.2, 0.5)

    assert (sides[500:] == TEST).all()
    assert set(sides[:500].tolist()) == {TRAIN, VALIDATION}


def test_a_larger_validation_share_only_adds_to_validation() -> None:
    digests = np.random.default_rng(0).integers(0, 2**64, 1000, np.uint64)
    given = np.zeros(1000, np.int8)

    small, large = assign(digests, given, 0.1), assign(digests, given, 0.2)

    assert (large[small == VALIDATION] == VALIDATION).all()


@pytest.mark.parametrize(("validation", "test"), [(-0.1, 0.0), (0.5, 0.5), (1.0, 0.0)])
def test_impossible_shares_are_refused(validation: float, test: float) -> None:
    with pytest.raises(ValueError, match="fractions"):
        assign(np.array([1], np.uint64), np.array([0], np.int8), validation, test)


def test_equal_bytes_on_both_sides_leave_test_and_are_named() -> None:
    digests = np.array([5, 6, 5, 7, 6, 8], np.uint64)
    sides = np.array([TRAIN, VALIDATION, TEST, TEST, TEST, TRAIN], np.int8)

    dropped = drop_shared(digests, sides, list("abcdef"))

    assert dropped.rows.tolist() == [2, 4]
    assert [image.key for image in dropped.images] == ["c", "e"]
    assert dropped.images[0].reason == "same bytes as the training image a"
    assert dropped.images[1].reason == "same bytes as the validation image b"
    assert dropped.sides.tolist() == [TRAIN, VALIDATION, NOWHERE, TEST, NOWHERE, TRAIN]
    assert sides[2] == TEST, "the caller's array stays"


def test_testing_on_what_an_earlier_stage_learned_is_refused() -> None:
    tested = np.array([1, 2, 3], np.uint64)

    refuse_overlap("stage3", tested, np.array([9], np.uint64), list("abc"))
    with pytest.raises(DataError, match=r"stage stage3: 2 of its validation and test images(.|\n)*b, c"):
        refuse_overlap("stage3", tested, np.array([3, 2], np.uint64), list("abc"))
