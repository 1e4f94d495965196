"""What the asv suites share that time our side of a comparison."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.compare import Task


class Compared:
    """Time and memory of the first contender, ours, of the task of that name; subclasses name the tasks."""

    tasks: Mapping[str, Task] = {}
    param_names = ("size", "task")
    timeout = 300

    def setup(self, size, task):
        self.problem, self.ours = self.tasks[task].setup(size), next(iter(self.tasks[task].contenders.values()))
        self.ours(self.problem)

    def time_ours(self, size, task):
        self.ours(self.problem)

    def peakmem_ours(self, size, task):
        self.ours(self.problem)
