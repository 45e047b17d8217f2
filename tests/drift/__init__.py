"""The client before a server that has moved on, and before one whose replies drift."""
