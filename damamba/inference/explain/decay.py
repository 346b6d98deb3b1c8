"""How long the scan's state remembers.

With a_t = exp(dt_t a), what position s wrote into the state weighs a_{s+1} ... a_t at position t (DAMamba, arXiv
2502.12627, section 3). The logarithms are summed, in float64. L positions row-major, C channels.
"""

import numpy as np


def weights_at(log_decay: np.ndarray, position: int) -> np.ndarray:
    """What each earlier position still weighs at this one: log a_t [L, C] -> [position + 1, C], 1 at the last."""
    total = np.cumsum(log_decay[: position + 1], axis=0)
    return np.exp(total[-1] - total)


def memory_lengths(log_decay: np.ndarray) -> np.ndarray:
    """How many positions back a contribution still weighs 1/e, in parts of a position: log a_t [L, C] -> [L, C].

    Nothing lies before the scan's first position: where all since then weighs more, it is the way back to there.
    """
    total, steps = -np.cumsum(log_decay, axis=0), np.arange(len(log_decay), dtype=float)
    return np.stack([steps - np.interp(curve - 1, curve, steps) for curve in total.T], axis=1)
