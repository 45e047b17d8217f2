"""Transfers of directories."""
