"""`toril queue`: which queues there are, and what is done to a queue as a whole."""
