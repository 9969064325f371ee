"""Archives: many files of one subject in one sealed object, made while it is sent (DESIGN 5.9)."""
