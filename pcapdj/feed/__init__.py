"""The inside of the dispatcher: one queue entry after another into the pipe."""
