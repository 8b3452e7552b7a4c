"""The judge's model behind an interface of OpenAI's shape: a chat with images, answered by a token or by many."""
