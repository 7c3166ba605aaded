"""Measures the driver's cost per trial, from the first to the thousandth."""
