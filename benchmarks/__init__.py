"""Measurements of what the project promises; each prints a table and writes JSON."""
