"""From a loss to new weights: optimizers and what goes around them."""
