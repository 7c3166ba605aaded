"""What the driver costs per trial, from the first to the thousandth."""
