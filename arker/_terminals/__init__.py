"""Connections to terminals of sessions, which are made again when they are lost."""
