"""The client's cost beside the least cost of the same work: ``python -m benchmarks``. See the README here."""
