"""4. Where answers go: a courier for each sink delivers messages in order, and counts what it must drop."""
