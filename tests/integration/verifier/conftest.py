"""What the verifier's tests get: pools of simulated hosts."""

from support.pool import new_pool, sim_pool

__all__ = ["new_pool", "sim_pool"]
