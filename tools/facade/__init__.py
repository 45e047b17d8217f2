"""Writes `arker_sync`, the blocking surface, from the source of the async one.

``python -m tools.facade`` writes it, ``python -m tools.facade --check`` says whether what is there is what would be
written. Every public class ``AsyncX`` of `arker` has a blocking twin; each file that holds a part of one gives a file
of the same name, in which signatures, overloads, docstrings and examples are turned, and each body hands the work over.
"""
