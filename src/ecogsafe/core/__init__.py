"""Words shared by every room: errors, events, private values, settings, durable files. Imports nothing of ours."""
