"""Tests; the folders mirror `src/ecogsafe`, `servers` and `conformance` serve them all."""
