"""Molecules in files of all kinds: atoms, isotopes, and what is said of charge and spin.

One reader for all commands, so that a file means the same to each of them.
"""
