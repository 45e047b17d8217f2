"""What the client costs beside the least that the same work can cost: ``python -m benchmarks``. See the README here."""
