"""Making room: which captures that were fed may go, and removing, moving or compressing them."""
