"""Our training loop against the usual one and against the machine."""
