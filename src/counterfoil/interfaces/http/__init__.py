"""What the interfaces over HTTP share: calls and answers as values, exact JSON, who asks."""
