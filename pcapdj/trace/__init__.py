"""From what an analyzer reports to the capture file and the packet that it is about."""
