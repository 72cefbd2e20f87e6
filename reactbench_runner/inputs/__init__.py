"""Reactions from tables and files of structures."""
