"""2. Which frames deserve a question: pure, synchronous, no clock of its own."""
