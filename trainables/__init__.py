"""Training: data sets, recipes, the training loop, and the class that runs one trial under Ray Tune."""
