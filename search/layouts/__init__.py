"""The space of layouts: its choices and limits as data, counted, numbered, enumerated and sampled exactly."""

from search.layouts.enumeration import count_feasible, enumerate_layouts, require_feasible, sample_uniform
from search.layouts.space import LayoutSpace

__all__ = ["LayoutSpace", "count_feasible", "enumerate_layouts", "require_feasible", "sample_uniform"]
