"""Rate constants from the Hessians of stored runs."""
