"""How settings are read and checked: URLs and hosts, the ledger's place, the environment."""
