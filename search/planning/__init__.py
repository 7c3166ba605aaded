"""What a run would do and take before anything is launched: trials at a time, epochs, hours, disk."""
