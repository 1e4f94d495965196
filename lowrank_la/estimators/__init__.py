"""scikit-learn estimators over the functions of this library; they need the extra `sklearn`.

They follow scikit-learn's conventions where those differ: NumPy arrays, `random_state`, fitted attributes with an underscore.
"""

try:
    from sklearn.utils.validation import validate_data  # noqa: F401
except ImportError as error:
    raise ImportError('lowrank_la.estimators needs scikit-learn: pip install "lowrank_la[sklearn]"') from error

from lowrank_la.estimators._functional_tucker import FunctionalTuckerRegressor
from lowrank_la.estimators._kernels import KernelRidge, Nystrom

__all__ = ["FunctionalTuckerRegressor", "KernelRidge", "Nystrom"]
