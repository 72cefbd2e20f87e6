"""Many reactions at once: input, parallel execution, storage and reports."""
