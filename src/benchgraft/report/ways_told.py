"""Which of several arms, told: the answer's sentences, and the tables behind them."""

from __future__ import annotations

from ..config.parents import PARENTS
from ..runfolder.runs import SCRATCH
from ..statistics.estimates import MATTERS, BreakEven
from .blocks import Block, Grid, Heading, Lines, numbers
from .ways import ArmRow, Stake, Ways, stake
from .words import capital, estimate, ordinal, per_cent, points, seconds, times

LEAST_RUNS = 2
"""Of each arm: one alone has no interval."""
_COUNTS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}


def ways_answer(found: Ways, where: str) -> list[str]:
    """The decision first, in one sentence: which one and from when on, what it costs if it is wrong, and what
    would change it. Then what that rests on.

    where: what kind of test photos these are.
    """
    leaders = [found.rows[0], *found.rivals]
    rates = _listed([f"{way(found, row)} ({estimate(row.accuracy, per_cent)})" for row in leaders], "or")
    which = f"gets the most test photos right{where}: {rates}."
    if any(row.runs < LEAST_RUNS for row in found.rows):
        decided = [f"One run per arm is not enough to tell which one {which}"]
    else:
        decided = [_decision(found, leaders, where)]
        decided += [f"These runs cannot tell which {which}"] if len(leaders) > 1 else []
    return [
        *decided,
        *_beyond(found),
        _times(found),
        *_fastest(found, leaders),
        *_unknown(found),
    ]


def ways_blocks(found: Ways) -> list[Block]:
    """The table over arms, and every two of them."""
    return [
        Heading("Which one"),
        _arms(found),
        Lines(_arm_notes(found)),
        _pairs(found),
        Lines([_correction(found)]),
    ]


def ways_tiles(found: Ways) -> list[tuple[str, str, str]]:
    """Of each arm, the most accurate first: how many photos right, and in what time."""
    return [
        (
            way(found, row),
            per_cent(row.accuracy.value),
            f"in {seconds(row.first.value)}" + (f", again in {seconds(row.again.value)}" if row.again else "")
            if row.first
            else "no time",
        )
        for row in found.rows
    ]


def way(found: Ways, row: ArmRow) -> str:
    """What an arm does, within a sentence."""
    if row.parent is None:
        return "training from scratch" if row.arm == SCRATCH else f"arm {row.arm}"
    is_only = [other.parent for other in found.rows].count(row.parent) == 1
    return f"transfer from parent {row.parent}" if is_only else f"arm {row.arm}"


def _decision(found: Ways, leaders: list[ArmRow], where: str) -> str:
    taken = found.row(found.advised)
    reason = _reason(found, taken, leaders)
    rate = f", {estimate(taken.accuracy, per_cent)}{where}" if len(leaders) == 1 else ""
    pays = "" if taken.arm == SCRATCH else f", and {_pays(found, taken)}"
    return f"{capital(way(found, taken))} {reason}{rate}{pays}{_price(found, taken)}{_untried(found)}."


def _reason(found: Ways, taken: ArmRow, leaders: list[ArmRow]) -> str:
    if len(leaders) == 1:
        return "gets the most test photos right"
    if taken is found.quickest(leaders):
        return "takes the least time of those that may be best"
    if taken is leaders[0]:
        return "got the most test photos right"
    return "takes the least time of those less than a point behind the best"


def _price(found: Ways, taken: ArmRow) -> str:
    """What the advice costs if it is wrong, and how many more runs or test photos would tell."""
    found_at = [stake(found, taken, row) for row in found.rows if row is not taken]
    stakes = [entry for entry in found_at if entry is not None]
    if len(stakes) < len(found_at):
        return ""
    worst = max(stakes, key=lambda entry: entry.at_most)
    name = way(found, worst.rival)
    if worst.at_most <= 0:
        return f"; the nearest, {name}, is at least {-100 * worst.at_most:.1f} points less accurate"
    told = f"; if that is wrong, it costs at most {100 * worst.at_most:.1f} points, against {name}"
    if abs(worst.likely) < MATTERS:
        return f"{told}, which was less than a point away"
    return f"{told}, and {_needed(found, worst)} would tell"


def _needed(found: Ways, stake: Stake) -> str:
    tested, runs = found.rows[0].tested, stake.rival.runs
    ways = []
    if stake.photos is not None and found.by_photo:
        ways.append(f"about {stake.photos:,} test photos in place of {tested:,}")
    if stake.runs is not None:
        ways.append(f"about {stake.runs:,} runs in place of {runs:,}")
    return " or ".join(ways) or f"about {stake.of_both:.1f} times as many runs and test photos"


def _untried(found: Ways) -> str:
    """Another parent may change the decision too."""
    left = [name for name in PARENTS if name not in [row.parent for row in found.rows]]
    if not left:
        return ""
    known = "parent" if len(left) == 1 else "parents"
    return f"; {_count(len(left))} other {known} not tried: {_listed(left, 'and')}"


def _beyond(found: Ways) -> list[str]:
    """The best arm against each other one, where other photos are to be judged."""
    best, shown, open_, unit = found.rows[0], [], [], "photos" if found.by_photo else "source classes"
    for row in found.rows[1:]:
        value = found.pair(best.arm, row.arm).beyond
        if value.differs_from(0.0):
            shown.append(f"than {way(found, row)} by {estimate(value, points)} points")
        elif value.has_interval:
            open_.append(f"{way(found, row)} ({estimate(value, points)} points)")
    told = (
        [f"On other {unit} too {way(found, best)} is more accurate {_listed(shown, 'and')}."] if shown else []
    )
    if open_:
        text = f"whether {way(found, best)} is more accurate than {_listed(open_, 'and')} on other {unit} too"
        told.append(f"{found.rows[0].tested:,} test photos are too few to tell {text}.")
    return told


def _times(found: Ways) -> str:
    told = []
    for row in sorted(found.rows, key=lambda row: row.first.value if row.first else 0.0):
        if row.first is not None:
            kept = f" ({seconds(row.again.value)} again on the same photos)" if row.again else ""
            told.append(f"{seconds(row.first.value)}{kept} by {way(found, row)}")
    return f"A retraining takes {_listed(told, 'and')}." if told else "No uninterrupted run: no times."


def _fastest(found: Ways, leaders: list[ArmRow]) -> list[str]:
    """From when on the quickest arm pays, where that is not the one that the answer names."""
    quick = found.quickest(found.rows)
    if quick is None or len(leaders) > 1 or quick.arm in (SCRATCH, found.rows[0].arm):
        return []
    spent = quick.preparation_seconds
    behind = "" if spent is None else f", preparation of {seconds(spent)} included"
    return [f"{capital(way(found, quick))} is the quickest, and {_pays(found, quick)}{behind}."]


def _unknown(found: Ways) -> list[str]:
    names = dict.fromkeys(
        str(row.parent) for row in found.rows if row.parent and row.preparation_seconds is None
    )
    return (
        [f"How long {_listed([*names], 'and')} took to make is not known, and not counted."] if names else []
    )


def _pays(found: Ways, row: ArmRow) -> str:
    """From when on, against scratch: by features computed each time, else by kept ones."""
    against = found.pair(row.arm, SCRATCH)
    if row.pays_first is None or against.seconds_first is None:
        return "whether it pays in time cannot be said"
    if not against.seconds_first.differs_from(1.0):
        return f"these runs cannot tell whether it pays in time{_kept(found, row)}"
    if row.pays_first.low is None or not row.pays_first.has_interval:
        return f"it takes longer than training from scratch{_kept(found, row)}"
    return f"it pays against training from scratch {_from(row.pays_first)}"


def _kept(found: Ways, row: ArmRow) -> str:
    against = found.pair(row.arm, SCRATCH).seconds_again
    even = row.pays_again
    if even is None or even.high is None or against is None or not against.differs_from(1.0):
        return ""
    return f", but on the same photos again it pays {_from(even)}"


def _from(even: BreakEven) -> str:
    if even.high is None:
        return f"from the {ordinal(even.low or 1)} retraining on at best, never at worst"
    interval = f" ({even.low:,} to {even.high:,})" if even.low != even.high else ""
    return f"from the {ordinal(even.first or 1)} retraining on{interval}"


def _arms(found: Ways) -> Grid:
    header = [
        "arm",
        "test\naccuracy",
        "right, of\n" + f"{found.rows[0].tested:,}",
        "retraining,\nfeatures anew",
    ]
    header += ["retraining,\nfeatures kept", "pays,\nanew", "pays,\nkept"]
    rows = [
        [
            row.arm,
            estimate(row.accuracy.bare, per_cent),
            f"{row.right:.1f}",
            *(estimate(value.bare, seconds) if value else "" for value in (row.first, row.again)),
            *(_first_to_pay(even) if even else "" for even in (row.pays_first, row.pays_again)),
        ]
        for row in found.rows
    ]
    return numbers(header, rows)


def _first_to_pay(even: BreakEven) -> str:
    if not even.has_interval:
        return f"{even.first:,}" if even.first is not None else "never"
    first, low, high = (f"{n:,}" if n is not None else "never" for n in (even.first, even.low, even.high))
    return first if low == high else f"{first} ({low} to {high})"


def _pairs(found: Ways) -> Grid:
    header = ["", "points,\nthese photos", "points,\nother photos too", "time,\nfeatures anew", "time,\nkept"]
    if not found.by_photo:
        header[2] = "points, other\nsource classes too"
    rows = [
        [
            f"{pair.first} against {pair.second}",
            *(estimate(value.bare, points) for value in (pair.here, pair.beyond)),
            *(
                estimate(value.bare, times) if value else ""
                for value in (pair.seconds_first, pair.seconds_again)
            ),
        ]
        for pair in found.pairs
    ]
    return numbers(header, rows)


def _arm_notes(found: Ways) -> list[str]:
    unit = "each photo as if independent of the others" if found.by_photo else "source class by source class"
    fixed = [row.arm for row in found.rows if row.is_fixed]
    return [
        *(_start_told(row) for row in found.rows),
        f"Accuracy: interval for other runs and other photos, {unit}.",
        "Pays: the retraining from which on an arm has cost less time in all than training from scratch, "
        "with features computed anew in each retraining, or in the first one alone and kept for the others.",
        *(
            [f"All runs of {_listed(fixed, 'and')} gave the same model: no seed matters there."]
            if fixed
            else []
        ),
    ]


def _start_told(row: ArmRow) -> str:
    size = f"; a network of {row.parameters:,} parameters" if row.parameters else ""
    if row.parent is None:
        return f"{row.arm} starts from random weights{size}."
    knows = f", trained on {row.trained_on}" if row.trained_on else ""
    spent = "unknown" if row.preparation_seconds is None else seconds(row.preparation_seconds)
    return f"{row.arm} starts from {row.parent}{knows} (preparation: {spent}){size}."


def _correction(found: Ways) -> str:
    count = len(found.pairs)
    return (
        f"Arms are paired by seed: same photos, same round. Intervals of the {_count(count)} pairs are wider "
        f"than 95 % (Bonferroni: {100 * (1 - 0.05 / count):.1f} % each), so that in each column all "
        f"{_count(count)} hold together in 95 % of cases. Time: the first over the second, below 1 the first "
        "is faster."
    )


def _count(number: int) -> str:
    return _COUNTS.get(number, f"{number:,}")


def _listed(parts: list[str], last: str) -> str:
    """`a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"
