"""One pure function for each operation, giving a `Call` as a value; one file a noun (contract, sections 5 and 6)."""
