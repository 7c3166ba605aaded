"""Optimizers, and what surrounds their step: clipping, averaging, Lookahead and SAM."""
