"""Everything that is known about one trial, on one page."""
