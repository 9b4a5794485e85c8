"""``make demo``: the main job end to end, on simulated hosts with real software TPMs."""
