"""The parts of `AsyncFiles`."""
