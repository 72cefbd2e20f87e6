"""The stages of a search, one module per stage."""
