"""Tests of `ecogsafe.transfer`."""
