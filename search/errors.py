"""The errors of search: every one is the user's to mend, is one line, and ends the command with exit code 2.

UserError (results.errors)
  SearchError
    ConfigError       a configuration is wrong; the message lists all problems
    PredicateError    the user's predicate raised an exception; the message names it and the layout
    EmptySpaceError   no layout is feasible; the message names the bound that empties the space
    ResourceError     more was asked for than the machine or cluster has
    ResumeError       a run cannot be resumed as asked
"""

from __future__ import annotations

from results.errors import UserError


class SearchError(UserError, ValueError):
    """A search cannot be done as asked."""


class ConfigError(SearchError):
    """A configuration is wrong."""


class PredicateError(SearchError):
    """A space's predicate failed."""


class EmptySpaceError(SearchError):
    """No layout of the space is feasible."""


class ResourceError(SearchError):
    """The machine or cluster lacks what was asked for."""


class ResumeError(SearchError):
    """A run cannot be resumed as asked."""
