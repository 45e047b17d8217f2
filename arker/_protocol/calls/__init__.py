"""One pure function for each operation, returning a `Call` as a value; one file a noun (contract, sections 5 and 6)."""
