"""A run's folder: its configuration, its ranking, its checkpoints, and what it reuses of earlier runs."""

from search.runs.folder import existing_run_folder, read_config

__all__ = ["existing_run_folder", "read_config"]
