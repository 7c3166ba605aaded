"""The configuration of a run: one frozen model, composed of defaults, files and flags; what a resume may change."""

from search.config.composition import compose
from search.config.run_config import RunConfig

__all__ = ["RunConfig", "compose"]
