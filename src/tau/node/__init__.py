"""What a node is given, and how it is called."""
