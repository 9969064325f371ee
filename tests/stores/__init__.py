"""Tests of `ecogsafe.stores`."""
