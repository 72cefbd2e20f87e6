"""Second derivatives of networks."""
