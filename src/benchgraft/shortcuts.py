"""Risks taken on purpose: what is quick since it touches something private of a library, or of the process.

Each changes times, memory or what is printed, never a bit of a result; where what it relies on is missing or
does otherwise than expected, the plain way is gone. BENCHGRAFT_NO_SHORTCUTS=1 in the environment leaves all
of them out: the first thing to try when a new version of PyTorch misbehaves. The gains are medians on 2 cores
of an AMD EPYC. Importing this imports nothing heavy.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import inspect
import logging
import mmap
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from torch.optim import Optimizer

VARIABLE = "BENCHGRAFT_NO_SHORTCUTS"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_FEW_COLLECTIONS = 100_000
_MARK = "__dynamo_disable"
_CHATTY_LOGGER = "torch.onnx._internal.exporter._registration"


def are_used() -> bool:
    """Whether the environment lets them be."""
    return os.environ.get(VARIABLE, "") in ("", "0")


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for this process, instead of giving it back and faulting it in again.

    A training step of the paper's network at batch 256: 1,814 images a second instead of 1,133 (2026-11-23).
    Settings of malloc cannot be read, and so not be put back: commands do this, functions never do. Programs
    that call the functions may do it themselves. Elsewhere than on glibc it does nothing.
    """
    if not are_used():
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError, TypeError):  # a C library without it, or none
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def collect_rarely() -> None:
    """Look for garbage after every 100,000 new objects instead of 700; for commands, as it stays so.

    Imports make objects by the hundred thousand, none of them garbage, and what takes memory here are arrays,
    which go without being looked for. Importing `adapt` takes 1.38 s of processor time instead of 1.47 s
    (2026-11-25, medians of 9 interleaved).
    """
    if are_used():
        gc.set_threshold(_FEW_COLLECTIONS)


def end_process(code: int) -> NoReturn:
    """End it with this exit code and without taking everything apart first, object by object.

    What waits for the end of the interpreter is still called (temporary folders, logging), and output is
    written. `predict` by an ONNX file takes 0.30 s instead of 0.38 s, an update of 100,000 photos 0.8 s less
    (2026-11-27). Where another thread is at work, the interpreter ends as it always does. A profiler around
    the command (python -m cProfile) sees no end: set BENCHGRAFT_NO_SHORTCUTS=1 for it.
    """
    others = [thread for thread in threading.enumerate() if thread is not threading.current_thread()]
    if not are_used() or not all(thread.daemon for thread in others):
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or never there
            stream.flush()
    os._exit(code)


@contextlib.contextmanager
def compiler_left_out() -> Iterator[None]:
    """Make an optimizer inside it without importing torch's compiler, which would only let it be.

    `Optimizer.add_param_group` is marked as seen by the compiler already, by the mark that torch itself sets.
    With `bare_step`: a process that trains spends 1.0 s of processor time less (2026-11-25, median of 9), and
    `adapt` on 300 photos peaks at 643 MB instead of 801 MB (2026-11-25, medians of 7 interleaved).
    """
    from torch.optim import Optimizer

    method = getattr(Optimizer.add_param_group, "__wrapped__", None)
    is_ours = False
    if are_used() and method is not None and not hasattr(method, _MARK):
        with contextlib.suppress(AttributeError, TypeError):  # of a kind that takes no marks
            setattr(method, _MARK, method)
            is_ours = True
    try:
        yield
    finally:
        if is_ours:
            delattr(method, _MARK)


def bare_step(optimizer: Optimizer) -> Callable[[], object]:
    """What does `optimizer.step()` without torch's wrappers, which import its compiler at the first step.

    The wrappers count steps for a profiler and call hooks, of which there are none here. For the gain see
    `compiler_left_out`.
    """
    import torch

    wrapped = type(optimizer).step
    bare: Callable[[Any], object] | None = inspect.unwrap(wrapped)
    if not are_used() or bare is wrapped:
        return optimizer.step

    def step() -> object:
        nonlocal bare
        if bare is not None:
            try:
                with torch.no_grad():
                    return bare(optimizer)
            except (AttributeError, TypeError):  # it counts on its wrappers after all, and has done nothing
                bare = None
        return optimizer.step()

    return step


def give_back(memory: mmap.mmap) -> None:
    """Let the system take back the pages of a private map that were read; they must not have been written.

    `adapt` on 100,000 photos peaks at 1.3 GB instead of 3.4 GB (2026-11-24). Not where the system cannot.
    """
    if are_used() and hasattr(mmap, "MADV_DONTNEED"):
        with contextlib.suppress(OSError, ValueError):
            memory.madvise(mmap.MADV_DONTNEED)


@contextlib.contextmanager
def quiet_exporter() -> Iterator[None]:
    """Export to ONNX inside it without the exporter's notes: on its own deprecations, and on torchvision.

    They come through a logger with a private name and as warnings of any kind; about 20 lines less.
    """
    if not are_used():
        yield
        return
    logger = logging.getLogger(_CHATTY_LOGGER)
    level = logger.level
    logger.setLevel(logging.ERROR)
    import torch

    with contextlib.suppress(AttributeError, RuntimeError):  # a graph that cannot be traced is printed whole
        torch._C._jit_set_onnx_log_output_stream("stderr")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
