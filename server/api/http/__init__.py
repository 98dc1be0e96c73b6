"""The server over HTTP: listening, authentication, connections."""
