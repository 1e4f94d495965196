"""One table of tasks, each done by this library and by its peers on the same data.

A module of this package holds the tasks of one area in a list `TASKS`. Run them with

    python -m benchmarks.compare                     # everything, full size
    python -m benchmarks.compare lstsq --size small  # one area, or tasks whose name contains a word
    python -m benchmarks.compare --list
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

THREADS = 2  # of every library; a contender with a setting of its own must use this number


@dataclass(frozen=True)
class Task:
    """One problem, its contenders, and how wrong an answer is.

    Attributes
    ----------
    name : str
        What is done and how large it is, for the heading of the table.
    setup : callable
        setup(size) returns the problem for size "full" or "small"; small ones take
        well under a second in every contender, because a test runs them.
    contenders : mapping of str to callable
        fn(problem) returns an answer. The first is ours, called "lowrank_la", perhaps with
        a setting behind it. Import a peer inside its function: ImportError means that it
        is reported as missing. Nothing may change the problem.
    error : callable
        error(problem, answer) returns named numbers that measure the answer's error and whatever
        else stands beside the time, such as a certificate's bound.
    """

    name: str
    setup: Callable[[str], Any]
    contenders: Mapping[str, Callable[[Any], Any]]
    error: Callable[[Any, Any], Mapping[str, float]]
