"""Thin shells over the services: the terminal here, the page later."""
