"""Compares our training loop with a conventional one and with what the machine can do."""
