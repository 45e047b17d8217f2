"""Generation 1 of the contract as JSON Schemas (draft 2020-12), written by hand: a module a noun, and a table.

They share nothing with the models of the client or the document of the embedded backend, so that neither is held
against itself.
"""
