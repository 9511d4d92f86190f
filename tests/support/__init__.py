"""What tests share: real servers, keyspace snapshots, tied processes; one small module each."""
