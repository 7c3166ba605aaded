"""Training: data sets, recipes, the training loop, and one trial as Ray Tune runs it."""
