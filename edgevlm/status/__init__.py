"""What the daemon tells of itself: camera and rule status, what it is made of, what it counts."""
