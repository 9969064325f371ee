"""Synthetic hospital exports with every identifier's place on record; for the demo and the tests.

Written from the format descriptions alone, without `ecogsafe.formats`: a second opinion on the formats.
All people, numbers and addresses are invented.
"""
