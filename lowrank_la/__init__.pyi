from . import dpp as dpp
from . import factor as factor
from . import sampling as sampling
from . import sketching as sketching
from ._result import Certificate as Certificate
from ._result import ConvergenceWarning as ConvergenceWarning
from ._result import Result as Result
from ._threads import limit_threads as limit_threads
from .completion import CompletionResult as CompletionResult
from .completion import complete as complete
from .curvature import MFAC as MFAC
from .curvature import MFACResult as MFACResult
from .curvature import SlidingMFAC as SlidingMFAC
from .dpp import sample_dpp as sample_dpp
from .dpp import weighted_lstsq as weighted_lstsq
from .regression import LpResult as LpResult
from .regression import LstsqResult as LstsqResult
from .regression import lp_regression as lp_regression
from .regression import sketch_lstsq as sketch_lstsq
from .sampling import leverage_scores as leverage_scores
from .sampling import lewis_weights as lewis_weights
from .sampling import lp_sensitivities as lp_sensitivities
from .sampling import ridge_leverage_scores as ridge_leverage_scores
from .sampling import sample_rows as sample_rows

__version__: str
