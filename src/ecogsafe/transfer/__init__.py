"""Moving bytes: one read of a source, one sealing, several destinations; and back again."""
