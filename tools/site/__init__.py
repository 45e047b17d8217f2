"""The docs site: what Sphinx is told about the packages, and the checks of the pages that were built."""
