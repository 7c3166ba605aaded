"""The errors of search: mistakes that the user can correct, each one line, which end the command with exit code 2.

UserError (results.errors)
  SearchError
    ConfigError       a configuration is wrong; the message lists all problems
    PredicateError    the user's predicate raised an exception; the message names it and the layout
    EmptySpaceError   no layout is feasible; the message names the limit that empties the space
    ResourceError     more was requested than the machine or cluster has
    ResumeError       a run cannot be resumed as requested
"""

from __future__ import annotations

from results.errors import UserError


class SearchError(UserError, ValueError):
    """A search cannot be done as requested."""


class ConfigError(SearchError):
    """A configuration is wrong."""


class PredicateError(SearchError):
    """A space's predicate failed."""


class EmptySpaceError(SearchError):
    """No layout of the space is feasible."""


class ResourceError(SearchError):
    """The machine or cluster lacks what was requested."""


class ResumeError(SearchError):
    """A run cannot be resumed as requested."""
