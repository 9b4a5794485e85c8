"""What the attacks are carried out on: pools of simulated hosts."""

from support.pool import new_pool, sim_pool

__all__ = ["new_pool", "sim_pool"]
