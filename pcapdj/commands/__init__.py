"""The operator's commands, one module each: what they ask of the rooms, and what they say."""
