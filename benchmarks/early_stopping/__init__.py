"""Early stopping replayed over measured learning curves."""
