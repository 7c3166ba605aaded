"""Compares samplers on problems whose optimum is known."""
