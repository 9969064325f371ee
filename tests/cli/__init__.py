"""Commands as a user or a script runs them: what they do, say and end with."""
