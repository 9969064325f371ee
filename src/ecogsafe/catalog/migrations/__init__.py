"""The history of the catalogue's tables; what is here once is never changed again."""
