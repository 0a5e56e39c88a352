"""What the roles tell each other through Redis: keys, scripts, one client, the embedded server."""
