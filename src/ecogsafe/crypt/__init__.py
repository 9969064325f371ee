"""Sealing: the age v1 format, lab key, recovery sheet, object checksums. The only place that uses a cipher.

Import from the modules themselves; nothing is re-exported, so that a caller of one does not load the others.
"""
