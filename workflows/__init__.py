"""Stages of a transition-state search that work with any ASE calculator."""
