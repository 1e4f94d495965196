"""asv benchmarks of streams of points and of leverage scores: time, memory and error, against size and ridge."""

from benchmarks._compared import Compared as _Compared
from benchmarks.compare.sequential import TASKS, cloud, our_scores, ours, score_error, stream_error

COMPARED = {task.name: task for task in TASKS}


class Stream:
    """`SequentialNystrom` against rows and ridge."""

    params = ((2000, 50_000), (100.0, 10.0))
    param_names = ("rows", "ridge")
    timeout = 300

    def setup(self, rows, ridge):
        self.problem = cloud(rows, ridge)
        self.time_stream(rows, ridge)

    def time_stream(self, rows, ridge):
        return ours(self.problem)

    def peakmem_stream(self, rows, ridge):
        ours(self.problem)

    def track_points(self, rows, ridge):
        return len(ours(self.problem))

    def track_norm(self, rows, ridge):
        return stream_error(self.problem, ours(self.problem))["norm / allowed"]


class Scores:
    """`kernel_leverage_scores` against rows and method."""

    params = ((500, 4000), ("bless", "recursive", "exact"))
    param_names = ("rows", "method")
    timeout = 300

    def setup(self, rows, method):
        self.problem = cloud(rows, 5.0)
        self.time_scores(rows, method)

    def time_scores(self, rows, method):
        return our_scores(self.problem, method)

    def peakmem_scores(self, rows, method):
        our_scores(self.problem, method)

    def track_width(self, rows, method):
        return score_error(self.problem, our_scores(self.problem, method))["certified"]


class Compared(_Compared):
    """Our side of the comparisons."""

    tasks = COMPARED
    params = (("small", "full"), tuple(COMPARED))
