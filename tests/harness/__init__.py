"""What every group of third-party tests shares; needs nothing but Python's own library."""
