"""The space of recipes: fields that are fixed, lists, ranges or bundles, and the recipes nearest to a proposal."""

from search.recipes.space import RecipeSpace

__all__ = ["RecipeSpace"]
