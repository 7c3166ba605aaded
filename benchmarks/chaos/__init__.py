"""Kills a search at its most sensitive moments and counts what is lost."""
