"""A trial's network after the search: measured on the test set, asked for predictions, exported."""
