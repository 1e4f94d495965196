"""What all estimators share: the dtypes they take, and how randomness comes in."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state

REAL = [np.float64, np.float32]


def seed_of(random_state: Any) -> int | None:
    """Turn scikit-learn's `random_state` into `rng`."""
    return None if random_state is None else int(check_random_state(random_state).randint(2**31 - 1))
