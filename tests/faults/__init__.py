"""The fault campaign: what pcapdj promises, tried by killing and cutting everything it consists of."""
