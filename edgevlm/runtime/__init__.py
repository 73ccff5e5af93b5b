"""What every stage leans on: clock, back-off, logs, counters, secrets, systemd. Knows no stage."""
