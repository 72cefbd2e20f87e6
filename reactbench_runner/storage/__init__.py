"""What a run leaves: rows, structures, a database, and how they came about."""
