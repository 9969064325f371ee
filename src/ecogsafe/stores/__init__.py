"""Places that keep objects: a folder, an S3 bucket, memory; wrappers; one contract for all (`protocol`)."""
