"""A search killed at instants that hurt, and what was lost."""
