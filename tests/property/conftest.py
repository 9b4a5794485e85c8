"""How hypothesis runs here: the same examples each time, as many as fit into a test run."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "xentpm",
    max_examples=200,
    deadline=20000,  # milliseconds for one example, with room for the pauses of a busy machine
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("xentpm")
