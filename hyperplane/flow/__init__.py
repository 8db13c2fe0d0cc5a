"""What a node remembers about a conversation, and how its peers come to remember it too."""
