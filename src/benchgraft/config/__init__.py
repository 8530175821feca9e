"""What may be asked for. Pydantic, no torch."""
