"""A generator of `arker_sync`, the blocking surface, from the source of the async one.

``python -m tools.facade`` writes it; ``python -m tools.facade --check`` checks whether the files there are up to date.
Every public class ``AsyncX`` of `arker` has a blocking twin. Each file with a part of one is turned into a file of the
same name, with its signatures, overloads, docstrings and examples; each body calls the async twin.
"""
