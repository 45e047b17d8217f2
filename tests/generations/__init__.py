"""Generation 1 of the contract: the client and the embedded backend against its schemas, and both beside 0.5."""
