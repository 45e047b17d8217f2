"""The state directory: what outlives a server, however it ends, and how the next one takes it up."""
