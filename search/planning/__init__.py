"""What a run will do and need, worked out before anything is launched: concurrency, epochs, hours, disk space."""
