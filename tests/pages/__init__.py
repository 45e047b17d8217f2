"""The pages of the docs: each block is run, in order, as its reader would run it. ``blocks.py`` says how."""
