"""A trial's network after the search: measured on the test set, used for predictions, exported."""
