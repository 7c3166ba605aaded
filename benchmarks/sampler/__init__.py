"""Samplers compared on problems whose optimum is known."""
