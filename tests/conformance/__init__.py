"""The frameworks' own suites against the adapters, each in an environment of its own: see ``nox -s conformance``.

No file here is called ``test_…``, as the project's suite runs where none of the frameworks is installed.
"""
