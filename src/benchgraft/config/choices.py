"""Values of which there are few, each set written once for requests, experiment files and what obeys them."""

from __future__ import annotations

from typing import Literal

Fit = Literal["letterbox", "stretch", "crop", "center"]
"""How photos are brought to the square of a model's input; all but "center" leave a square photo whole."""
Resampling = Literal["lanczos", "bilinear", "bicubic"]
"""How pixels are scaled."""
Damaged = Literal["exclude", "refuse"]
"""What to do with photos that cannot be read: name them, or end the run."""
Policy = Literal["refuse", "drop-test", "drop-near", "keep"]
"""What to do with photos to validate or test on that are among those trained on."""
ReportFormat = Literal["text", "html", "md", "json", "csv"]
Format = Literal["cifar100", "fruits360", "split", "folder", "elpv"]
"""How a data set lies on disk."""
