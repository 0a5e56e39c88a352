"""Programs that make inputs at random until their time is over: `make fuzz`."""
