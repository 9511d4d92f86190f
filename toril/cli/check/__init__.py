"""`toril check`: configuration, imports and server, judged before anything is started."""
