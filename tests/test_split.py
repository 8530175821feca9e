"""Sides follow from content alone, and no image is learned and tested on."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from benchgraft.errors import DataError, UserError
from benchgraft.store.sides import NOWHERE, TEST, TRAIN, VALIDATION
from benchgraft.store.split import assign, drop_shared, group_keys, refuse_overlap

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


def test_given_validation_images_are_the_validation_images() -> None:
    digests = np.random.default_rng(0).integers(0, 2**64, 1500, np.uint64)
    given = np.repeat(np.array([0, 1, 2], np.int8), 500)

    sides = assign(digests, given, 0.2, 0.2)

    assert (sides[:500] == TRAIN).all(), "nothing is cut from training images"
    assert (sides[500:1000] == TEST).all()
    assert (sides[1000:] == VALIDATION).all()


def test_test_images_are_cut_from_training_images_where_only_validation_is_given() -> None:
    digests = np.random.default_rng(0).integers(0, 2**64, 1500, np.uint64)
    given = np.repeat(np.array([0, 2], np.int8), [1000, 500])

    sides = assign(digests, given, 0.2, 0.2)

    assert float((sides[:1000] == TEST).mean()) == pytest.approx(0.2, abs=0.04)
    assert not (sides[:1000] == VALIDATION).any()
    assert (sides[1000:] == VALIDATION).all()


@pytest.mark.parametrize("pattern", [r"s\d+_", r"(s\d+)_", r"(?:(nothing)|(s\d+))_"])
def test_all_frames_of_one_object_fall_on_one_side(pattern: str) -> None:
    keys, digests = frames(200)
    groups = group_keys(keys, pattern, digests)
    sides = assign(digests, np.full(len(keys), -1, np.int8), 0.2, 0.2, groups).reshape(200, 10)

    assert (sides == sides[:, :1]).all()
    shares = [float((sides == side).mean()) for side in (TRAIN, VALIDATION, TEST)]
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.1)


def test_groups_keep_their_side_when_images_are_added_or_removed() -> None:
    keys, digests = frames(50)
    given = np.full(len(keys), -1, np.int8)
    before = assign(digests, given, 0.2, 0.2, group_keys(keys, r"s\d+_", digests))
    some = np.arange(0, len(keys), 3)

    fewer = group_keys([keys[row] for row in some], r"s\d+_", digests[some])

    assert (assign(digests[some], given[some], 0.2, 0.2, fewer) == before[some]).all()


def test_image_without_a_group_goes_by_its_content() -> None:
    keys, digests = frames(20)
    groups = group_keys(["dog/loose.jpg", *keys], r"s\d+_", np.append(np.uint64(7), digests))
    assert groups[0] == 7


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(", "is no regular expression"),
        ("bird", "matches no image"),
        ("cat", "all images into one group, 'cat'"),
    ],
)
def test_useless_group_pattern_is_refused(pattern: str, said: str) -> None:
    keys, digests = frames(3)
    with pytest.raises(UserError, match=re.escape(said)):
        group_keys(keys, pattern, digests)


def frames(objects: int, each: int = 10) -> tuple[list[str], np.ndarray]:
    """Keys and digests of frames of objects."""
    keys = [f"cat/s{number}_{frame}.jpg" for number in range(objects) for frame in range(each)]
    return keys, np.random.default_rng(0).integers(0, 2**64, len(keys), np.uint64)
