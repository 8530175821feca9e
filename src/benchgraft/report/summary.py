"""The summary of a run folder: every figure that is printed, as data; all forms of output are made of it.

Seconds are wall time of whole runs; accuracies are fractions; `None` means that it cannot be said yet.
"""

from __future__ import annotations

from typing import Literal

from .answers import Confusion, Mistake
from .audit import Finding, Status
from .learning import Learning
from .network import Network
from .part import Part
from .provenance import Provenance
from .published import PublishedTable
from .runs import Variant
from .significance import RunsNeeded, Significance
from .statistics import BreakEven, Estimate

Verdict = Literal["supported", "not supported", "cannot tell"]


class ClassData(Part):
    """One class of a stage: the source classes that its rule matched, and its images by split."""

    name: str
    sources: list[str]
    images: dict[str, int]


class StageData(Part):
    """The images of a stage as measured, which need not be the paper's edition."""

    stage: str
    data: str
    format: str | None
    classes: int
    source_classes: int
    images: dict[str, int]
    """Split -> images."""
    unusable: int
    """Images of the whole data set that could not be read and take part in nothing."""
    shared: int
    """Images of the whole data set not judged by, since training has them too, or ones that look alike."""
    unmatched: dict[str, int]
    """Source class that no rule takes -> its images."""
    matched: list[ClassData]


class RunRow(Part):
    """One run of a table; for a transfer arm cold and warm of one seed."""

    seed: int
    seconds: dict[Variant, float]
    accuracy: float
    epochs: int
    images_seen: int
    interrupted: list[Variant]
    """Of these its time is left out of the means: it was interrupted once at least."""
    retries: int = 0
    """Attempts that diverged before the one that gave the model; their time is in `seconds`."""
    given: str | None
    """Where the model comes from, if it was not trained in this folder."""

    @property
    def is_resumed(self) -> bool:
        """Whether some of its times are left out of the means."""
        return bool(self.interrupted)


class Spread(Part):
    """Values of an arm's runs: mean with interval, standard deviation, range."""

    runs: int
    mean: Estimate
    bootstrap: Estimate | None
    """The same by a bootstrap over runs; None with too few of them."""
    deviation: float | None
    low: float
    high: float


class Table(Part):
    """Tables 2 to 5, what was published and what was measured; or the runs of an arm by themselves."""

    number: int | None
    """Of the paper's table; None where the paper has no part in the experiment."""
    title: str
    stage: str | None
    arm: str | None
    published: PublishedTable | None
    rows: list[RunRow]
    seconds: dict[Variant, Spread]
    accuracy: Spread | None
    accuracy_over_sources: Estimate | None
    """Of the runs' models as they are, over source classes of test images."""
    trained_parameters: int | None


class Phases(Part):
    """Where the time of an arm's runs went: mean seconds by phase."""

    arm: str
    variant: Variant
    runs: int
    seconds: dict[str, float]


class Speedup(Part):
    """Mean time of scratch over mean time of a transfer arm, and what it is made of.

    ratio.value = epochs x images_per_epoch x cost_per_image; each factor is scratch over transfer.
    """

    arm: str
    variant: Variant
    ratio: Estimate
    permutation: Significance | None
    """Of the difference in mean times; None with one run an arm."""
    epochs: float
    images_per_epoch: float
    cost_per_image: float
    scratch_seconds: float
    transfer_seconds: float
    scratch_runs: int
    transfer_runs: int
    other_machine: bool


class Payback(Part):
    """Retrainings until the preparation has paid."""

    arm: str
    variant: Variant
    preparation_seconds: float
    preparation_given: bool
    """Some of it came with the program instead of being measured in this folder."""
    other_machine: bool
    """Some of it was timed on another machine, or with other threads, than the retrainings: not measured."""
    break_even: BreakEven
    at_ten: float
    """Cost of ten retrainings, preparation included, over that of ten models from scratch."""


class AccuracyDifference(Part):
    """Transfer minus scratch, for this parent."""

    arm: str
    over_runs: Estimate
    over_sources: Estimate | None
    together: Estimate
    """What claims are judged by."""
    same_images: bool
    permutation: Significance | None
    """Of the runs' accuracies; None with one run an arm."""
    mcnemar: Significance | None
    """Of two single models, only where the test images are independent of each other."""
    mcnemar_why_none: str | None


class Mistakes(Part):
    """Answers of an arm by kind, where one class is to be ignored. Counts are means over runs."""

    arm: str
    runs: int
    rest: str
    classes: list[str]
    """The others."""
    rest_images: int
    rest_taken_for_class: float
    class_images: int
    class_taken_for_rest: float
    class_taken_for_other: float


class LabelledImages(Part):
    """Labelled images that an arm's model was trained on, by stage."""

    arm: str
    stages: dict[str, int]
    total: int


class Claim(Part):
    """One claim of the paper, judged by these runs."""

    name: str
    claim: str
    source: Status
    arm: str | None
    verdict: Verdict
    figure: str
    published: str
    """What the printed figures themselves say to it, marked."""


class StudyRow(Part):
    """One point of a line; of a pooled study the whole line."""

    line: str
    x: float | None
    arms: list[str]
    runs: int
    train_images: int
    """Mean over arms."""
    epochs: float
    """Mean over runs."""
    seconds: dict[Variant, Estimate]
    """Of one run; cumulative: of all runs of a seed up to here."""
    accuracy: Estimate


class StudyDifference(Part):
    """In accuracy, between two lines of a study at one place."""

    first: str
    second: str
    x: float | None
    value: Estimate
    """First minus second, a fraction."""


class StudyStep(Part):
    """One change from an arm to the next of a study: what it does to the seconds of a run and to accuracy.

    ratio.value = epochs x images_per_epoch x cost_per_image; each factor is before over after.
    """

    what: str
    before: str
    after: str
    before_variant: Variant
    after_variant: Variant
    before_seconds: float
    after_seconds: float
    ratio: Estimate
    """Mean seconds before over mean seconds after."""
    epochs: float
    images_per_epoch: float
    cost_per_image: float
    accuracy: Estimate | None
    """After minus before, a fraction; None where the two were tested on different images."""
    other_machine: bool


class StudySummary(Part):
    """What a study's table and figure are made of."""

    question: str
    x: str | None
    cumulative: bool
    rows: list[StudyRow]
    differences: list[StudyDifference]
    """Of every two lines at the same place, tested on the same images."""
    steps: list[StudyStep]
    """As the study declares them, in its order, where both arms have an uninterrupted run."""


class Summary(Part):
    """All that is said at the end."""

    experiment: str
    protocol: str
    answer: list[str]
    """In plain words; the first sentence says whether transfer pays."""
    started: str
    command: list[str]
    machines: list[str]
    data: list[StageData]
    tables: list[Table]
    phases: list[Phases]
    speedups: list[Speedup]
    accuracy: list[AccuracyDifference]
    half_width: float | None
    """The half-width that the user asked about, a fraction."""
    runs_needed: list[RunsNeeded]
    mistakes: list[Mistakes]
    labelled: list[LabelledImages]
    paybacks: list[Payback]
    learning: Learning
    confusions: list[Confusion]
    surest_mistakes: list[Mistake]
    network: Network
    provenance: Provenance
    audit: list[Finding]
    claims: list[Claim]
    missing: list[str]
    notes: list[str]
    study: StudySummary | None
    """The points of a study; None for a comparison of arms."""
