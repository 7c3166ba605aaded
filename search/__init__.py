"""The search: its space, its sampler, its driver over Ray Tune, and the command line."""
