"""Augmentation in batches on the device."""
