"""What commands show on a terminal: labelled lines, the status screen, a progress bar."""
