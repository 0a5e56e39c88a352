"""The inside of the importer: which capture files are there, which are complete, and in which order."""
