from . import factor as factor
from . import sketching as sketching
from ._result import Certificate as Certificate
from ._result import ConvergenceWarning as ConvergenceWarning
from ._result import Result as Result
from ._threads import limit_threads as limit_threads
from .completion import CompletionResult as CompletionResult
from .completion import complete as complete
from .regression import LstsqResult as LstsqResult
from .regression import sketch_lstsq as sketch_lstsq

__version__: str
