"""Classes by rule on whole words, and a balanced draw."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from benchgraft.config.experiment import ClassRules
from benchgraft.config.frame import Frame
from benchgraft.errors import ConfigError, DataError
from benchgraft.store.classes import StageImages, match, select, words
from benchgraft.store.sides import NOWHERE, TEST, TRAIN, VALIDATION
from benchgraft.store.split import assign
from benchgraft.store.store import Store

FRUITS = [
    "Apple 10",
    "Apple Red 1",
    "Pear",
    "Pear Abate",
    "Pepino",
    "Pineapple",
    "Cherry Wax Red 1",
    "Cherry 2",
]
PAPER = ClassRules(rules={"apple": ["apple"], "pear": ["pear"]}, rest="noise")


def test_pineapple_is_no_apple_and_pepino_no_pear() -> None:
    matched = match(FRUITS, PAPER)

    assert list(matched) == ["apple", "pear", "noise"]
    assert matched["apple"] == ["Apple 10", "Apple Red 1"]
    assert matched["pear"] == ["Pear", "Pear Abate"]
    assert {"Pepino", "Pineapple"} < set(matched["noise"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Apple 10", ["apple", "10"]),
        ("apple10", ["apple", "10"]),
        ("lawn_mower", ["lawn", "mower"]),
        ("Pineapple", ["pineapple"]),
        ("Яблоко Красное-1", ["яблоко", "красное", "1"]),
        ("Cafe\u0301 noir", ["caf\u00e9", "noir"]),
        ("सेब", ["सेब"]),
        ("***", []),
    ],
)
def test_words_are_runs_of_letters_in_any_script(name: str, expected: list[str]) -> None:
    assert words(name) == expected


def test_phrase_matches_words_in_a_row_in_any_case() -> None:
    rules = ClassRules(rules={"wax": ["CHERRY wax"], "ten": ["apple 10"]})
    assert match(FRUITS, rules) == {"wax": ["Cherry Wax Red 1"], "ten": ["Apple 10"]}


def test_without_rules_every_source_class_is_its_own() -> None:
    assert match(["b", "a"], ClassRules()) == {"a": ["a"], "b": ["b"]}


def test_rule_without_match_is_answered_with_near_names() -> None:
    with pytest.raises(ConfigError, match=r'aple = \["aple"\] matches no class(.|\n)*did you mean "apple"'):
        match(FRUITS, ClassRules(rules={"aple": ["aple"]}))


def test_source_class_claimed_twice_names_both_rules() -> None:
    rules = ClassRules(rules={"apple": ["apple"], "red": ["red"]})
    with pytest.raises(
        ConfigError, match=r'"Apple Red 1" is claimed.*apple = \["apple"\] and red = \["red"\]'
    ):
        match(FRUITS, rules)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (ClassRules(rest="noise"), "no rules"),
        (ClassRules(rules={"a": ["apple"]}, rest="a"), "both a rule and the rest"),
        (ClassRules(rules={"a": []}), "empty rule"),
        (ClassRules(rules={"a": ["**"]}), "matches no class"),
        (ClassRules(rules={"a": FRUITS}, rest="b"), "leave no class over"),
    ],
)
def test_rules_that_say_nothing_are_refused(rules: ClassRules, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        match(FRUITS, rules)


def test_unknown_key_in_rules_is_refused() -> None:
    with pytest.raises(ValueError, match="train_per_clas"):
        ClassRules.model_validate({"train_per_clas": 3})


def test_draw_spreads_evenly_over_source_classes() -> None:
    store = make_store({"Apple 1": 100, "Apple 2": 100, "Apple 3": 10, "Pear": 100, "Plum": 90, "Kiwi": 90})
    images = select(store, sides_of(store), PAPER.model_copy(update={"train_per_class": 50}))

    assert drawn_by_source(images, "Apple") == {"Apple 1": 20, "Apple 2": 20, "Apple 3": 10}
    assert drawn_by_source(images, "Pear") == {"Pear": 50}
    assert sum(drawn_by_source(images, "Plum", "Kiwi").values()) == 50
    assert images.counts()["train"] == {"apple": 50, "pear": 50, "noise": 50}
    assert images.notes == []


def test_class_with_too_few_images_keeps_all_and_says_so() -> None:
    store = make_store({"Apple": 30, "Pear": 100, "Plum": 100})
    images = select(store, sides_of(store), PAPER.model_copy(update={"train_per_class": 50}))

    assert images.counts()["train"]["apple"] == 30
    assert images.notes == ["apple has 30 train images, not the 50 asked for: all are taken"]
    assert images.notes[0] in images.summary()


def test_rows_and_labels_agree_and_are_in_order() -> None:
    store = make_store({"Apple 1": 40, "Pear": 40, "Plum": 40})
    images = select(store, np.arange(120, dtype=np.int8) % 3, PAPER)

    for split, rows in images.rows.items():
        assert (np.diff(rows) > 0).all()
        for row, label in zip(rows.tolist(), images.labels[split].tolist(), strict=True):
            assert store.class_names[store.labels[row]] in images.matched[images.class_names[label]]
    assert len(images.sources) == len(images.keys) == len(images.rows["test"])


def test_draw_is_fixed_by_its_seed_and_changes_with_it() -> None:
    store = make_store({"Apple": 200, "Pear": 200})
    rules = ClassRules(train_per_class=50)

    first, again, other = (
        select(store, sides_of(store), rules.model_copy(update={"draw_seed": seed})) for seed in (1, 1, 2)
    )

    assert first.digest == again.digest != other.digest
    assert (first.rows["train"] == again.rows["train"]).all()


def test_added_images_change_few_of_those_drawn() -> None:
    small = make_store({"Apple": 200, "Pear": 200})
    large = make_store({"Apple": 210, "Pear": 210})
    rules = ClassRules(train_per_class=50)

    before, after = (
        {store.keys[row] for row in select(store, sides_of(store), rules).rows["train"].tolist()}
        for store in (small, large)
    )

    assert len(before - after) <= 15


def test_digest_tells_labels_and_sides_apart() -> None:
    store = make_store({"Apple": 40, "Pear": 40, "Plum": 40})
    sides = sides_of(store)
    moved = sides.copy()
    moved[np.flatnonzero(sides == TRAIN)[0]] = NOWHERE

    digests = {
        select(store, sides, PAPER).digest,
        select(store, moved, PAPER).digest,
        select(store, sides, ClassRules(rules={"apple": ["plum"], "pear": ["pear"]}, rest="noise")).digest,
    }

    assert len(digests) == 3


def test_class_missing_from_a_split_is_named_with_its_counts() -> None:
    store = make_store({"Apple": 10, "Pear": 10})
    for side, split in ((TRAIN, "train"), (VALIDATION, "validation"), (TEST, "test")):
        sides = np.arange(20, dtype=np.int8) % 3
        sides[(store.labels == 1) & (sides == side)] = NOWHERE
        with pytest.raises(DataError, match=rf'class "Pear" has no {split} image \(.*0 {split}'):
            select(store, sides, ClassRules())


def test_class_with_one_image_is_named() -> None:
    store = make_store({"Apple": 10, "Pear": 1})
    with pytest.raises(DataError, match='class "Pear" has one image'):
        select(store, np.zeros(11, np.int8), ClassRules())


def test_one_class_alone_is_refused() -> None:
    store = make_store({"Apple": 10})
    with pytest.raises(DataError, match="only one class: Apple"):
        select(store, np.zeros(10, np.int8), ClassRules())


def make_store(counts: dict[str, int]) -> Store:
    """A store without pixels; an image's digest depends on its class and number only."""
    names = sorted(counts)
    labels = np.concatenate([np.full(counts[name], i, np.int32) for i, name in enumerate(names)])
    digests = np.concatenate(
        [
            np.random.default_rng([*name.encode()]).integers(0, 2**64, counts[name], np.uint64)
            for name in names
        ]
    )
    return Store(
        key="0" * 64,
        format="folder",
        folder=Path("nowhere"),
        frame=Frame(1),
        pixels=np.zeros((len(labels), 1, 1, 3), np.uint8),
        class_names=names,
        labels=labels,
        given=np.full(len(labels), -1, np.int8),
        keys=[f"{name}/{number}" for name in names for number in range(counts[name])],
        digests=digests,
        excluded=[],
        conversions={},
        notes=[],
        decode_seconds=0.0,
    )


def sides_of(store: Store) -> npt.NDArray[np.int8]:
    """Everything trains, so that counts are round."""
    return assign(store.digests, np.zeros(len(store), np.int8), 0.0)


def drawn_by_source(images: StageImages, *starts: str) -> dict[str, int]:
    sources = [images.store.class_names[label] for label in images.store.labels[images.rows["train"]]]
    return dict(Counter(source for source in sources if source.startswith(starts)))
