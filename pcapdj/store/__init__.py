"""What the roles exchange through Redis: keys, scripts, the client, the embedded server."""
