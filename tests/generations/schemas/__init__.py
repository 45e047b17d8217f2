"""Generation 1 of the contract as JSON Schemas (draft 2020-12), written by hand: a module a noun, a table of operations.

They share nothing with the models of the client or the document of the embedded backend, so that neither is held
against itself.
"""
