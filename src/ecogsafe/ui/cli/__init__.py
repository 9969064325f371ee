"""The command line. Every command is a few lines: read the options, call one service, render its events."""
