"""What is seen in a terminal: a run while it goes on, an answer, a conversation, a mixture drawn."""
