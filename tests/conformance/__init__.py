"""One suite for every store and wrapper, and liars that must each make it fail."""
